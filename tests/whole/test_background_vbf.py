"""VBF H → WW with H → ZZ as a background: the whole chain, learned from simulated events."""

from __future__ import annotations

import pytest

from milinfer.datasets import vbf_hww, vbf_hzz
from milinfer.features.feature_set import feature_set
from milinfer.intervals.coverage import Asymptotic
from milinfer.learning.background_ratio import BackgroundRatio
from milinfer.learning.bag_likelihood import BagLikelihood
from milinfer.learning.networks.configs import TrainingConfig
from milinfer.likelihood.models import Renamed
from milinfer.likelihood.profiled_mixture import ProfiledMixture
from milinfer.samples.sample import Sample
from milinfer.samples.sample_set import SampleSet
from milinfer.toys.pool import Background
from milinfer.toys.toys import Toys
from milinfer.utils.points import point_id

SIGNAL, BACKGROUND = 400.0, 400.0
POINTS = tuple({"c_HW": c} for c in (-1.0, -0.5, 0.0, 0.5, 1.0))


def sample(generated) -> Sample:
    table = feature_set("vbf_2l2j_invariant").from_lhe(generated.to_events()[0])
    weights = {}
    if generated.point:
        own = generated.joint_ratio(generated.point["c_HW"])
        weights = {
            point_id(p): generated.cross_section * generated.joint_ratio(p["c_HW"]) / own
            for p in POINTS
        }
    return Sample(
        table.array,
        table.names,
        point=generated.point,
        process=generated.process,
        cross_section=generated.cross_section,
        cross_section_error=generated.cross_section_error,
        reweights=weights,
        reweight_points={point_id(p): p for p in POINTS} if weights else {},
    )


@pytest.mark.early
def test_the_background_is_taken_into_account():
    truth = 0.0
    train = sample(vbf_hww.generate(15_000, {"c_HW": 0.0}, seed=1))
    model = BagLikelihood(
        head="polynomial",
        labels="joint",
        points=tuple((p["c_HW"],) for p in POINTS),
        training=TrainingConfig(10, 2048, 2e-3, 2e-5, schedule="cosine"),
        seed=1,
    ).fit(SampleSet((train,)))
    ratio = BackgroundRatio(seed=1).fit(train, sample(vbf_hzz.generate(15_000, seed=2)))
    assert all(abs(p) < 5 for p in ratio.fitted.pulls)
    mixture = ProfiledMixture(model, SIGNAL, {"zz": (ratio, BACKGROUND)}, {"zz": 0.1})
    toys = Toys(
        SampleSet((sample(vbf_hww.generate(15_000, {"c_HW": truth}, seed=3)),)),
        n_events=int(SIGNAL),
        seed=4,
        poisson=True,
        background=(Background(sample(vbf_hzz.generate(15_000, seed=5)), BACKGROUND),),
    )
    found = toys.run([mixture, Renamed(model, "ignored")], truth, 1000)
    profiled, ignored = (
        Asymptotic().contains_truth(found[name], 0.6827).mean() for name in ("mixture", "ignored")
    )
    estimates = found["mixture"].theta_hat
    assert abs(estimates.mean() - truth) < 0.5 * estimates.std()
    assert abs(profiled - 0.6827) < 0.08
    # A fit that ignores the background is biased by 0.85 of its error, and covers in 47 %.
    assert ignored < 0.6
