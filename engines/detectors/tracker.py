"""Staying with one person in both views."""

from __future__ import annotations

import logging

import numpy as np

from ...calibration.rectify import Rectifier
from ...models.pose import Pose2D
from .acquisition import Acquisition, FoundPair, FoundPerson
from .person import PersonDetector
from .pose_network import Pictures, PoseNetwork, PoseReading
from .region import Region
from .same_person import MAX_MISMATCH, TORSO_JOINTS, Agreement, agreement

log = logging.getLogger(__name__)

# A search of a whole picture costs more than following somebody. Where it has failed it is repeated after this many
# pictures; a view that has lost its person a moment ago is searched at once.
SEARCH_PAUSE = 8
# Every so many fruitless searches parts of the pictures are searched too, for people too small in the whole one.
CLOSE_SEARCH_EVERY = 8
# The views may disagree this many pictures in a row before somebody else is suspected in one of them ...
MAX_DISAGREEING = 3
# ... and when looking again changes nothing, the calibration is the likelier cause: leave it for this many pictures,
# and for twice as many each further time.
DISAGREEMENT_PAUSE = 60
# Views that have agreed and do not any more may show two people; what they show is held back meanwhile. They do not
# when their rows differ by so many times the usual or when the person would have jumped toward the cameras or away:
# disparity by the size of the region.
UNUSUAL_MISMATCH = 3.0
MAX_DISPARITY_JUMP = 0.25
# The region stays where it is until the body has moved by this part of its size. Looking at the same pixels again
# gives the same error again; with a region that follows every tremor joints jitter by 15 to 45 % more (measured).
STEADY = 0.05
# Below this confidence in shoulders and hips alike the network no longer sees a body, whatever its presence says.
MIN_BODY_CONFIDENCE = 0.1


def within_picture(pose: Pose2D, picture: np.ndarray) -> Pose2D | None:
    """The pose without the joints that lie outside the picture, where nothing was observed; None when all do."""
    height, width = picture.shape[:2]
    with np.errstate(invalid="ignore"):
        beyond = (pose.points_px < -0.5) | (pose.points_px > np.array([width, height]) - 0.5)
    inside = np.asarray(~beyond.any(axis=1) & np.isfinite(pose.points_px).all(axis=1))
    if inside.all():
        return pose
    if not inside.any():
        return None
    points_px = np.where(inside[:, None], pose.points_px, np.nan)
    return Pose2D(points_px, np.where(inside, pose.confidence, 0), pose.skeleton)


def steady(region: Region, body: Region) -> Region:
    """Where to look next: at `body`, unless `region`, where it was just seen, is as good."""
    moves_px = (np.subtract(body.centre_px, region.centre_px), body.top_px - region.top_px)
    return region if max(np.hypot(*move) for move in moves_px) <= STEADY * region.size_px[1] else body


class StereoTracker:
    """A `StereoDetector`: finds a person in both pictures, then follows them with a pose network.

    Of several people it takes the most prominent one that both views show, and stays with that one. A view that
    loses them is searched again; while only one view shows anybody, that view is followed alone.
    """

    def __init__(self, name: str, rectifier: Rectifier, person_detector: PersonDetector, network: PoseNetwork) -> None:
        self.name = name
        self.device = network.device
        self.skeleton = network.skeleton
        self._rectifier = rectifier
        self._network = network
        self._acquisition = Acquisition(rectifier, person_detector, network)
        self._torso = [self.skeleton.index(joint) for joint in TORSO_JOINTS]
        self.reset()

    def reset(self) -> None:
        """Forget the person followed so far."""
        self._bodies: list[Region | None] = [None, None]
        self._search_pause = 0
        self._fruitless_searches = 0
        self._disagreeing = 0
        self._disagreement_pause = DISAGREEMENT_PAUSE
        self._usual: Agreement | None = None
        self._usual_bodies: tuple[Region, Region] | None = None
        self._held_back: int | None = None

    def close(self) -> None:
        """Release threads and networks."""
        self._acquisition.close()
        self._network.close()

    def detect(self, left: np.ndarray, right: np.ndarray, timestamp_s: float) -> tuple[Pose2D | None, Pose2D | None]:
        """One person in both views, in pixels of the given pictures, or None where a view shows nobody.

        left, right: (H, W, 3) uint8 BGR, as `Rectifier.images` returns them.
        """
        pictures = (left, right)
        self._held_back = None
        people = self._follow(pictures)
        if people == (None, None):
            people = self._search_both(pictures)
        elif None in people:
            people = self._search_other(pictures, people)
        else:
            people = self._check_agreement(pictures, people)
        for view, person in enumerate(people):
            self._bodies[view] = person.body if person is not None else None
        left_pose, right_pose = (
            within_picture(person.pose, picture) if person is not None and view != self._held_back else None
            for view, (person, picture) in enumerate(zip(people, pictures, strict=True))
        )
        return left_pose, right_pose

    def _follow(self, pictures: Pictures) -> tuple[FoundPerson | None, FoundPerson | None]:
        """Read the joints where the person was a picture ago."""
        left, right = self._bodies
        if left is not None and right is not None:
            readings = self._network.read_both(pictures, (left, right))
            return self._accept(pictures[0], left, readings[0]), self._accept(pictures[1], right, readings[1])
        if left is not None:
            return self._accept(pictures[0], left, self._network.read(0, pictures[0], left)), None
        if right is not None:
            return None, self._accept(pictures[1], right, self._network.read(1, pictures[1], right))
        return None, None

    def _accept(self, picture: np.ndarray, region: Region, reading: PoseReading) -> FoundPerson | None:
        body_seen = reading.pose.confidence[self._torso].max() >= MIN_BODY_CONFIDENCE
        usable = reading.body is not None and reading.body.is_usable_in(picture)
        if reading.body is None or not usable or not body_seen or reading.presence < self._network.min_presence:
            log.debug("person lost, presence %.2f", reading.presence)
            self._search_pause = 0
            return None
        return FoundPerson(reading.pose, reading.presence, steady(region, reading.body))

    def _search_both(self, pictures: Pictures) -> tuple[FoundPerson | None, FoundPerson | None]:
        # While nobody is in sight every picture is searched: there is nothing else to do.
        closely = self._fruitless_searches % CLOSE_SEARCH_EVERY == CLOSE_SEARCH_EVERY - 1
        found = self._acquisition.find_pair(pictures, closely)
        self._fruitless_searches = 0 if found.left or found.right else self._fruitless_searches + 1
        self._search_pause = SEARCH_PAUSE
        self._disagreeing = 0
        self._disagreement_pause = DISAGREEMENT_PAUSE
        self._note_agreement(found)
        return found.left, found.right

    def _search_other(
        self, pictures: Pictures, people: tuple[FoundPerson | None, FoundPerson | None]
    ) -> tuple[FoundPerson | None, FoundPerson | None]:
        """Search the view that does not show the person the other one follows."""
        if self._search_pause > 0:
            self._search_pause -= 1
            return people
        self._search_pause = SEARCH_PAUSE
        left, right = people
        if left is not None:
            return left, self._acquisition.find_partner(1, pictures[1], left)
        if right is not None:
            return self._acquisition.find_partner(0, pictures[0], right), right
        return people

    def _check_agreement(
        self, pictures: Pictures, people: tuple[FoundPerson | None, FoundPerson | None]
    ) -> tuple[FoundPerson | None, FoundPerson | None]:
        """Notice when the views follow different people, and choose again."""
        left, right = people
        if left is None or right is None:
            return people
        now = agreement(self._rectifier, (left.pose, right.pose), (left.body, right.body))
        bodies = left.body, right.body
        unusual = self._is_unusual(now)
        if not (now.rows > MAX_MISMATCH or unusual):
            self._disagreeing = min(self._disagreeing, 0)
            self._usual, self._usual_bodies = now, bodies
            return people
        if unusual:
            self._held_back = self._view_that_moved(bodies)
            self._disagreeing = max(self._disagreeing, 0)
        self._disagreeing += 1
        if self._disagreeing < MAX_DISAGREEING:
            return people
        return self._choose_again(pictures, people, now)

    def _choose_again(
        self, pictures: Pictures, people: tuple[FoundPerson | None, FoundPerson | None], now: Agreement
    ) -> tuple[FoundPerson | None, FoundPerson | None]:
        again: FoundPair = self._acquisition.find_pair(pictures, closely=True)
        log.debug("views disagree by %.2f of the person; switch: %s", now.rows, again.is_consistent)
        if again.is_consistent:
            self._disagreeing = 0
            self._held_back = None
            self._note_agreement(again)
            return again.left, again.right
        if self._held_back is not None:
            # The other view still shows the person; this one is searched for them from now on.
            self._usual = None
            self._disagreeing = 0
            return (None, people[1]) if self._held_back == 0 else (people[0], None)
        self._disagreeing = -self._disagreement_pause
        self._disagreement_pause *= 2
        return people

    def _note_agreement(self, found: FoundPair) -> None:
        self._usual = None
        if found.left is not None and found.right is not None and found.is_consistent:
            self._usual, self._usual_bodies = found.agreement, (found.left.body, found.right.body)

    def _is_unusual(self, now: Agreement) -> bool:
        """Whether views that agreed a moment ago no longer do."""
        if self._usual is None:
            return False
        limit = max(MAX_MISMATCH, UNUSUAL_MISMATCH * self._usual.rows)
        return now.rows > limit or abs(now.disparity - self._usual.disparity) > MAX_DISPARITY_JUMP

    def _view_that_moved(self, bodies: tuple[Region, Region]) -> int:
        """The view whose person is further from where they were when the views agreed."""
        before = self._usual_bodies or bodies
        moved = [
            np.hypot(*np.subtract(body.centre_px, was.centre_px)) / was.size_px[1]
            for body, was in zip(bodies, before, strict=True)
        ]
        return int(np.argmax(moved))
