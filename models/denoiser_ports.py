"""The inputs and outputs of a whole denoiser, by name, whatever file or engine holds it; batch first.

left_px, right_px: (B, J, 2) rectified pixels, 0 where missing; confidence: (B, J), 0 where missing; rig: (B, 5) focal
length, baseline in metres, columns of both principal points, their row; lengths_m: (B, G) by the groups of
`bone_lengths.segments_of`, 0 where unknown. points_m, sigma_m: (B, J, 3); epipolar_px: (B, J).
"""

DENOISER_INPUTS = ("left_px", "right_px", "confidence", "rig", "lengths_m")
DENOISER_OUTPUTS = ("points_m", "sigma_m", "epipolar_px")
