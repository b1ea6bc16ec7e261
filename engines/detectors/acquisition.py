"""Finding a person in whole pictures, the same one in both views.

The person detector proposes, the pose network decides: where people stand close together a proposal may lie between
them, so each is read twice, the second time where the first reading found the body.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

from ...calibration.rectify import Rectifier
from ...models.pose import Pose2D
from .person import PersonDetector
from .pose_network import Pictures, PoseNetwork
from .region import Region
from .same_person import MAX_MISMATCH, TORSO_JOINTS, UNKNOWN, Agreement, agreement
from .two_views import TwoViews

MAX_PROPOSALS = 4
# Two readings whose torsos are closer than this part of the region's size show one person.
SAME_PERSON_DISTANCE = 0.1
# Rows of the joints of one person agree to a hundredth or two of the region's size.
FOREIGN_LIMBS = 0.03


@dataclass(frozen=True)
class FoundPerson:
    """Somebody found in one view. body: where to look for them next; presence: 0..1."""

    pose: Pose2D
    presence: float
    body: Region

    @property
    def prominence(self) -> float:
        """How large and how surely seen."""
        return self.presence * self.body.size_px[1]


@dataclass(frozen=True)
class FoundPair:
    """One person in both views, either of which may be None. agreement: of the views, UNKNOWN with one view."""

    left: FoundPerson | None
    right: FoundPerson | None
    agreement: Agreement

    @property
    def is_consistent(self) -> bool:
        """Whether the geometry of the rig confirms that it is one person."""
        return self.agreement.rows <= MAX_MISMATCH

    @property
    def prominence(self) -> float:
        """How large and how surely seen by both, less where the limbs say that these are two people."""
        foreign = np.nan_to_num(self.agreement.limbs) / FOREIGN_LIMBS
        return _prominence(self.left) * _prominence(self.right) / (1 + foreign**2)


class Acquisition:
    """Searches whole pictures for a person."""

    def __init__(self, rectifier: Rectifier, person_detector: PersonDetector, network: PoseNetwork) -> None:
        self._rectifier = rectifier
        self._person_detector = person_detector
        self._network = network
        self._torso = [network.skeleton.index(joint) for joint in TORSO_JOINTS]
        self._views = TwoViews()

    def close(self) -> None:
        """Release the threads."""
        self._views.close()

    def find_pair(self, pictures: Pictures, closely: bool = False) -> FoundPair:
        """The most prominent person that both views show; when nobody is in both, the most prominent in either.

        closely: search parts of the pictures too; done in any case when the views show somebody, but nobody in common.
        """
        left, right = self._views.both(lambda view: self._people(view, pictures[view], closely))
        pair = self._best_pair(left, right)
        if pair.is_consistent or not (left or right):
            return pair
        if not closely:
            return self.find_pair(pictures, closely=True)
        if len(left) == len(right) == 1:
            # Nobody else it could be: the rig is wrong rather than the person, and whoever judges the residuals of
            # calibration downstream must get to see them.
            return FoundPair(left[0], right[0], pair.agreement)
        return pair

    def find_partner(self, view: int, picture: np.ndarray, other: FoundPerson) -> FoundPerson | None:
        """The person `other`, tracked in the other view, in the picture of `view`; None when they are not there."""
        people = self._people(view, picture, closely=False)
        pair = self._best_pair(people, [other]) if view == 0 else self._best_pair([other], people)
        return (pair.left, pair.right)[view] if pair.is_consistent else None

    def _people(self, view: int, picture: np.ndarray, closely: bool) -> list[FoundPerson]:
        people: list[FoundPerson] = []
        for candidate in self._person_detector.find(view, picture, closely)[:MAX_PROPOSALS]:
            person = self._read(view, picture, self._network.first_region(candidate))
            if person is not None:
                person = self._read(view, picture, person.body)
            if person is not None and not any(self._is_same(person, known) for known in people):
                people.append(person)
        return people

    def _read(self, view: int, picture: np.ndarray, region: Region) -> FoundPerson | None:
        reading = self._network.read(view, picture, region)
        if reading.presence < self._network.min_presence or reading.body is None:
            return None
        if not reading.body.is_usable_in(picture):
            return None
        return FoundPerson(reading.pose, reading.presence, reading.body)

    def _is_same(self, a: FoundPerson, b: FoundPerson) -> bool:
        middles_px = [person.pose.points_px[self._torso].mean(axis=0) for person in (a, b)]
        distance_px = float(np.linalg.norm(middles_px[0] - middles_px[1]))
        return distance_px < SAME_PERSON_DISTANCE * max(a.body.size_px[1], b.body.size_px[1])

    def _best_pair(self, left: Sequence[FoundPerson], right: Sequence[FoundPerson]) -> FoundPair:
        pairs = [
            FoundPair(a, b, agreement(self._rectifier, (a.pose, b.pose), (a.body, b.body)))
            for a, b in product(left, right)
        ]
        consistent = [pair for pair in pairs if pair.is_consistent]
        if consistent:
            return max(consistent, key=lambda pair: pair.prominence)
        best_left = max(left, key=_prominence, default=None)
        best_right = max(right, key=_prominence, default=None)
        if _prominence(best_left) >= _prominence(best_right):
            return FoundPair(best_left, None, UNKNOWN)
        return FoundPair(None, best_right, UNKNOWN)


def _prominence(person: FoundPerson | None) -> float:
    return person.prominence if person is not None else 0.0
