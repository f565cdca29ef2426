"""What a shape of another tool cannot hold of a region, kept beside it: it counts as long as nobody has moved the shape."""

from typing import Any

# Key of a shape. Tools keep the keys of a shape that they do not know.
EXACT = "rivega"


def exact_region(box: list[float], mask: dict[str, Any] | None, points: list[Any]) -> dict[str, Any]:
    """What is kept beside a shape.

    box (List[float]): XYXY pixels. mask (Optional[Dict]): COCO RLE, where the shape holds only its outline.
    points (List): Of the shape, as it is written.
    """
    return {"box": box, "points": points, **({} if mask is None else {"mask_rle": mask})}


def kept_exact(shape: dict[str, Any]) -> tuple[Any, Any]:
    """Box and mask that were kept beside a shape; None for both where it was moved or drawn anew."""
    kept = shape.get(EXACT)
    if not isinstance(kept, dict) or kept.get("points") != shape.get("points"):
        return None, None
    return kept.get("box"), kept.get("mask_rle")


__all__ = ["EXACT", "exact_region", "kept_exact"]
