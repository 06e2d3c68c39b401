"""The sections of an analysis about nuisance parameters."""

from __future__ import annotations

import pytest

from milinfer.learning.systematic_response import SystematicResponse
from milinfer.workflow.systematics_sections import ResponseSection


def test_a_range_of_the_dependence_goes_to_the_response():
    section = ResponseSection(theta_dependent=True, theta_range={"c_HW": (-0.5, 0.5)})
    assert SystematicResponse(**section.settings()).theta_range == {"c_HW": (-0.5, 0.5)}
    with pytest.raises(ValueError, match="add theta_dependent = true"):
        ResponseSection(theta_range={"c_HW": (-0.5, 0.5)})
