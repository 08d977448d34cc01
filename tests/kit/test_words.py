from concurrent.futures import ThreadPoolExecutor

from kit.words import terms, words


def test_words_have_no_case_no_accents_and_no_punctuation() -> None:
    assert words("Beyoncé's CAFÉ, 2016!") == ["beyonce", "s", "cafe", "2016"]


def test_terms_are_stems_without_stop_words() -> None:
    assert terms("The plants are growing in the garden") == ["plant", "grow", "garden"]


def test_single_letters_and_digits_are_kept() -> None:
    assert terms("vitamin C and 7") == ["vitamin", "c", "7"]


def test_threads_stem_alike() -> None:
    text = " ".join(f"running{i} jumping{i} nationalities{i}" for i in range(300))
    with ThreadPoolExecutor(4) as pool:
        assert len({tuple(result) for result in pool.map(terms, [text] * 16)}) == 1
