"""OpenCV's built-in detectors of people and faces, as boxes of persons to compare a grounder with.

OpenCV 5 no longer has them: `pip install "opencv-python-headless<5"`.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np

# People are looked for at twice the stored size: the detector's window is 64x128 pixels, the photographs at most 320.
UPSCALE = 2.0
# A person by a face: the face box is this many times as wide, and high, hanging from a quarter of a face above it.
BODY_WIDE, BODY_HIGH, ABOVE = 3.0, 7.0, 0.25

Detector = Callable[[np.ndarray], np.ndarray | None]


def detectors() -> dict[str, Detector]:
    """One box XYXY of a person for a picture HxWx3 uint8 RGB, or None where nothing is found; empty without OpenCV 4."""
    try:
        import cv2
    except ImportError:
        return {}
    if not hasattr(cv2, "HOGDescriptor") or not hasattr(cv2, "CascadeClassifier"):
        return {}
    hog = cv2.HOGDescriptor()
    hog.setSVMDetector(cv2.HOGDescriptor_getDefaultPeopleDetector())
    cascade = cv2.CascadeClassifier(str(Path(cv2.data.haarcascades) / "haarcascade_frontalface_alt2.xml"))

    def people(image: np.ndarray) -> np.ndarray | None:
        larger = cv2.resize(image, None, fx=UPSCALE, fy=UPSCALE, interpolation=cv2.INTER_LINEAR)
        if larger.shape[0] < 128 or larger.shape[1] < 64:
            return None
        found, scores = hog.detectMultiScale(larger, winStride=(8, 8), padding=(8, 8), scale=1.08)
        if not len(found):
            return None
        x, y, w, h = found[int(np.argmax(scores))] / UPSCALE
        # The detector's window has a rim around the person; OpenCV's own example takes this much off.
        return np.array([x + 0.1 * w, y + 0.07 * h, x + 0.9 * w, y + 0.87 * h])

    def faces(image: np.ndarray) -> np.ndarray | None:
        found = cascade.detectMultiScale(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), 1.1, 3, minSize=(16, 16))
        if not len(found):
            return None
        x, y, w, h = max(found, key=lambda face: face[2] * face[3])
        middle, top = x + w / 2, y - ABOVE * h
        body = np.array([middle - BODY_WIDE * w / 2, top, middle + BODY_WIDE * w / 2, top + BODY_HIGH * h])
        height, width = image.shape[:2]
        return body.clip(0, [width, height, width, height])

    return {"OpenCV's people detector (HOG)": people, "OpenCV's face detector (Haar), face scaled to a person": faces}
