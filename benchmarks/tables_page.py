"""The table of the page: many visitors, starting and cancelling."""

import json

from grid import DASH, RESULTS, grid


def page() -> str:
    """One row a figure of the page, with its aim."""
    found = json.loads((RESULTS / "page.json").read_text())
    start, cancel, mask = found["start"], found["cancel"], found["mask"]
    rows = [["start, CPU-s (median of " + str(len(start["cpu_s"])) + ")", "≤ 10", f"{start['cpu_s_median']:.1f}",
             f"{start['load']:.0f}"]]  # fmt: skip
    for name, label in (("eight", "eight at once, 2 pictures each"), ("queue", "thirty-four at once, 1 picture each")):
        one = found[name]
        served = one["with_their_own"] + one["sent_away_with_a_sentence"]
        rows.append([f"{label}: got their own; sent away; lost; another's", f"{DASH}; {DASH}; 0; 0",
                     f"{one['with_their_own']}; {served - one['with_their_own']}; {one['lost']}; {one['anothers']}",
                     f"{one['load']:.0f}"])  # fmt: skip
        rows.append([f"{label}: until the work began, s, median and longest", "",
                     f"{one['waited_s_median']:.0f}, {one['waited_s_max']:.0f}", f"{one['load']:.0f}"])  # fmt: skip
    for name, one in cancel.items():
        step = one.get("step_s_median")
        aim = "≤ .5" if name == "waiting" else f"≤ {step:.2f} + .3" if step else "≤ a step + .3"
        rows.append([f"cancel, {name}: p95, s ({one['n']} times)", aim, f"{one['p95_s']:.2f}", f"{one['load']:.0f}"])
        if "until_anothers_mask_p95_s" in one:
            rows.append([f"cancel, {name}: until another's mask is found, p95, s", "",
                         f"{one['until_anothers_mask_p95_s']:.1f}", f"{one['load']:.0f}"])  # fmt: skip
    rows.append([f"a mask while another trains, s, median and longest (alone {mask['alone_s']:.1f})", "",
                 f"{mask['median_s']:.1f}, {mask['max_s']:.1f}", f"{mask['load']:.0f}"])  # fmt: skip
    return grid(["the page", "aim", "measured", "load of the machine"], rows)
