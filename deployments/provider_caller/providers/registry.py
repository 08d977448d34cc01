"""Finds the providers: the modules of this package, and what installed packages register.

A package registers one under the entry point group `penstock.providers`; the entry point names a `Provider`, its class
or an instance.
"""

import importlib
import pkgutil
from importlib.metadata import EntryPoint, entry_points

from deployments.provider_caller import providers as package
from deployments.provider_caller.providers.base import Provider
from kit.errors import SetupError

GROUP = "penstock.providers"

_NOT_PROVIDERS = ("base", "registry")


def load_registry() -> dict[str, Provider]:
    """Every provider by id. Raises SetupError for a registered one that cannot be used."""
    found = {provider.id: provider for provider in _built_in()}
    for point in entry_points(group=GROUP):
        provider = _registered(point)
        if provider.id in found:
            raise SetupError(
                f"The package {_package(point)} registers the provider {provider.id!r}; there is one already.",
                "Uninstall it, or ask its authors for another id.",
            )
        found[provider.id] = provider
    return found


def _built_in() -> list[Provider]:
    names = [module.name for module in pkgutil.iter_modules(package.__path__) if module.name not in _NOT_PROVIDERS]
    modules = [importlib.import_module(f"{package.__name__}.{name}") for name in names]
    return [module.PROVIDER for module in modules]


def _registered(point: EntryPoint) -> Provider:
    try:
        loaded = point.load()
    except Exception as error:  # Another package's code: whatever it raises, the operator must hear which one it was.
        raise SetupError(
            f"The provider {point.name!r} of the installed package {_package(point)} cannot be loaded: {error}.",
            "Uninstall or mend the package.",
        ) from error
    provider = loaded() if isinstance(loaded, type) else loaded
    if not isinstance(provider, Provider):
        raise SetupError(
            f"{point.value}, registered by the installed package {_package(point)}, is no provider.",
            "It must be a subclass of deployments.provider_caller.providers.base.Provider, or an instance.",
        )
    return provider


def _package(point: EntryPoint) -> str:
    return point.dist.name if point.dist is not None else point.value
