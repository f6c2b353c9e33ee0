"""The values that flow between the rooms of the system.

Every value is a frozen dataclass that refuses wrong shapes and dtypes when it is built, and says
both shapes. Shapes are written with one letter per axis; a letter keeps its size within a value:

    B clips in a batch    T frames of a clip     K landmarks        C clips of a track
    H, W height, width    S side of a square crop (pixels)          G patches along one side

Pixel coordinates are (x, y), x to the right, y down; the centre of the top-left pixel is (0, 0).
Boxes are (x0, y0, x1, y1). Times are seconds from the start of the video. Masks are float32 in
[0, 1]. Frames are 8-bit RGB, channels first.

The values here hold NumPy arrays: detection does without torch. The tensors of training are in
`types.network`.
"""

from fakestormer.types.clips import Clip as Clip
from fakestormer.types.clips import FaceTrack as FaceTrack
from fakestormer.types.prediction import ClipScores as ClipScores
from fakestormer.types.prediction import EverySecond as EverySecond
from fakestormer.types.prediction import Prediction as Prediction
from fakestormer.types.report import FaceReport as FaceReport
from fakestormer.types.report import Moment as Moment
from fakestormer.types.report import Reason as Reason
from fakestormer.types.report import ReasonCode as ReasonCode
from fakestormer.types.report import Report as Report
from fakestormer.types.report import Scene as Scene
from fakestormer.types.report import Verdict as Verdict
