"""Questions that the sample curriculum answers, two for each of its subjects."""

QUESTIONS = (
    "Where in a leaf does photosynthesis take place?",
    "How do enzymes speed up reactions in the body?",
    "Why does iron rust faster in salt water?",
    "How can sand be separated from salty water?",
    "What causes earthquakes where two plates meet?",
    "How does the water cycle return water to the sea?",
    "What did Magna Carta say about the power of the king?",
    "Why did the printing press spread so quickly in Europe?",
    "How is the longest side of a right-angled triangle found?",
    "What is the probability of rolling two sixes in a row?",
    "How does the current divide in a parallel circuit?",
    "What does Newton's second law say about force and acceleration?",
)
