"""Files of histograms for the tests of what reads them."""

from __future__ import annotations

import json

import uhi.io.json as uhi_json

from milinfer.utils.points import format_point, point_id


def write_histograms(templates, path):
    """The histogram of each sample in the UHI serialisation, by the name of its point."""
    content = {}
    for values, h in zip(templates.points.tolist(), templates.histograms, strict=True):
        point = templates.point(values)
        item = h._to_uhi_()
        # The schema of UHI allows text and numbers here; hist makes attributes of them.
        notes = {**item.get("metadata", {}), "point": format_point(point), "unit": "pb"}
        content[point_id(point)] = {**item, "metadata": notes}
    text = json.dumps(content, default=uhi_json.default, indent=1)
    path.write_text(text + "\n", encoding="utf-8")
