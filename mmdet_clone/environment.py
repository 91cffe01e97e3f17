"""Whether the libraries below the toolbox can work at all, told in one line each before anything else fails."""

from __future__ import annotations

from importlib import import_module, metadata


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return 'not installed'


def check_torchvision() -> None:
    """Raise ``ImportError`` if torchvision's operators were built for another torch than the one installed."""
    try:
        torch, _ = import_module('torch'), import_module('torchvision.ops')
        torch.ops.torchvision.nms  # noqa: B018  the look-up fails where the compiled operator is absent
    except Exception as error:
        raise ImportError(
            f'torchvision {_version("torchvision")} does not work with torch {_version("torch")} ({error}). '
            'Install a matching pair: pip install --upgrade --force-reinstall torch torchvision'
        ) from None


def check_opencv() -> None:
    """Raise ``ImportError`` if OpenCV cannot be loaded, as on a server without a display's libraries."""
    try:
        import_module('cv2')
    except ImportError as error:
        raise ImportError(
            f'OpenCV cannot be loaded ({error}). On a machine without a display install the build that needs none: '
            'pip uninstall -y opencv-python && pip install --force-reinstall opencv-python-headless'
        ) from None
