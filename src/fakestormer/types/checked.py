"""Shapes and dtypes of values: checked when they are built, and printed instead of pixels."""

from __future__ import annotations

from typing import Any

from fakestormer.types.tensors import fields_of


def check_fields(value: object, **specs: tuple[str, Any]) -> None:
    """Refuse a value whose fields do not have the shape and dtype in `specs`.

    A spec is ("T 3 H W", np.uint8); fields are NumPy arrays, or tensors with torch's dtypes.
    Letters bind to the first size they meet; digits are literal. A field that is None is not
    looked at where the spec begins with "?". Raises ValueError naming the field, the shape expected
    and the shape found.
    """
    sizes: dict[str, int] = {}
    for field, (spec, dtype) in specs.items():
        array = getattr(value, field)
        if spec.startswith("?"):
            if array is None:
                continue
            spec = spec.removeprefix("?")
        where = f"{type(value).__name__}.{field}"
        axes = spec.split()
        bound = ", ".join(f"{a}={sizes[a]}" if a in sizes else a for a in axes)
        if not hasattr(array, "dtype"):
            raise ValueError(f"{where}: expected an array ({bound}), got {type(array).__name__}")
        shape = tuple(array.shape)
        fits = len(shape) == len(axes)
        if fits:
            for axis, size in zip(axes, shape, strict=True):
                wanted = int(axis) if axis.isdigit() else sizes.setdefault(axis, size)
                fits = fits and wanted == size
        if not fits:
            raise ValueError(f"{where}: expected shape ({bound}), got {shape}")
        if array.dtype != dtype:
            name = getattr(dtype, "__name__", dtype)
            raise ValueError(f"{where}: expected dtype {name}, got {array.dtype}")


def described(value: Any) -> str:
    """`Clip(frames=uint8[4, 3, 256, 256], ...)`: shapes, never pixels."""
    parts = []
    for name, content in fields_of(value).items():
        if hasattr(content, "dtype"):
            dtype = str(content.dtype).removeprefix("torch.")
            parts.append(f"{name}={dtype}{list(content.shape)}")
        else:
            parts.append(f"{name}={content!r}")
    return f"{type(value).__name__}({', '.join(parts)})"
