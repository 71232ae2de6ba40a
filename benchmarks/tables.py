"""Write the tables of docs/results.md and README.md from ``benchmarks/results``.

A table lies between ``<!-- table: NAME -->`` and ``<!-- end -->``.

python benchmarks/tables.py           # rewrite both files
python benchmarks/tables.py --check   # exit 1 when one of them is not what the results say
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

from grid import DASH, RESULTS, bounded, grid
from tables_faults import hostile, people, reliability
from tables_figure import completed_sides, figures, painted_sides, shapes_by_normals, street_figures
from tables_page import page
from tables_scale import batch, catalogue, indexes, large, restarts, sampled, serve, tuned

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = (ROOT / "docs" / "results.md", ROOT / "README.md")
ORDER = (
    "popularity", "markov-last", "markov", "ease", "ease-recency", "sasrec", "gru4rec", "diffrec-paper", "diffrec",
    "tdiffrec", "ldiffrec", "dreamrec-paper", "dreamrec", "dreamrec-gru", "dreamrec-caser", "dreamrec-prefixes",
    "dreamrec-bidirectional", "dreamrec-tdm", "preferdiff", "diffurec", "diqdiff", "ddsr", "maskedids",
    "countdiff", "countdiff-text",
)  # fmt: skip
METRICS = {"recall@10": "Recall@10", "ndcg@10": "NDCG@10", "mrr@10": "MRR@10", "coverage@10": "coverage@10"}
MANY_TARGETS = {"recall@10": "Recall@10", "recall@20": "Recall@20", "ndcg@10": "NDCG@10", "ndcg@20": "NDCG@20"}
AT_20 = {"hit@20": "HR@20", "ndcg@20": "NDCG@20"}


def recommenders(data: str, metrics: dict[str, str] = METRICS, *, shown: str = "masked", digits: int = 3) -> str:
    """One row a model: means over seeds with bootstrap intervals over users; `shown`: seen items masked or unmasked."""
    rows = []
    for name in ORDER:
        path = RESULTS / f"recsys-{data}-{name}.json"
        if not path.exists():
            continue
        report = json.loads(path.read_text())
        test, seeds = report["test"][shown], report["seeds"]
        train = sum(s["train_cpu_s"] for s in seeds) / len(seeds)
        decode = sum(s["decode_cpu_s_per_1000"] for s in seeds) / len(seeds)
        figures = [
            bounded(test[m], digits) if m != "coverage@10" else f"{test[m]['mean']:.2f}" for m in metrics if m in test
        ]
        rows.append([name, *figures, str(len(seeds)), f"{train:.1f}", f"{decode:.2f}"])
    return grid(["model", *metrics.values(), "seeds", "train CPU-s", "CPU-s a 1,000 users"], rows)


def _beside_controls(report: dict, key: str) -> str:
    """``.123 (.110 – .136); .1, .2``: a figure, and that of true pictures blurred and shuffled."""
    return f"{bounded(report[key])}; {report['blurred'][key]['mean']:.3f}, {report['shuffled'][key]['mean']:.3f}"


Measure = tuple[str, str, str, Callable[[dict], str]]


def _worn(file: str, label: str, right: str, *, sharp: bool = True) -> tuple[Measure, ...]:
    """What a way of dressing renders comes to; right: how often the garment shall be the right one of 20."""
    energy = ("the same: Laplacian energy of the cloth by the true render's", f".75 {DASH} 1.25")
    told = [(label, right, "retrieval_top1_of_20"),
            ("the same: SSIM inside the mask's box against the true render", "≥ .80", "ssim_in_mask_box"),
            *([(*energy, "laplacian_energy_of_true")] if sharp else [])]  # fmt: skip
    return tuple((file, text, aim, partial(_beside_controls, key=key)) for text, aim, key in told)


TRYON: tuple[Measure, ...] = (
    *_worn("pictures-main-job", "main job on renders: right garment of 20 by the repainted region", "≥ .90"),
    *_worn("pictures-as-photos", "as photos, parts found by the parser: right garment of 20", "≥ .97"),
    ("pictures-as-photos", "the same: pixels of the mask in which the old garment's colour stays", "≤ .01",
     lambda d: bounded(d["old_colour"])),
    *_worn("pictures-tryon", "try-on by the network alone: right garment of 20 by the repainted region", "≥ .90",
           sharp=False),
    ("pictures-tryon", "try-on: pixels outside the mask unchanged", "1",
     lambda d: f"{d['outside_unchanged']['mean']:.3f}"),
    ("pictures-tryon", "try-on: colours follow a swapped garment", "passes",
     lambda d: bounded(d["swapped_colours_nearer_to_the_other"])),
    ("pictures-people", "real people: colours nearer to the given garment than to a swapped one", "≥ .85",
     lambda d: bounded(d["given_nearer_than_swapped"])),
    ("pictures-street", "street photos, shops' garments, found masks: colours of the given garment", "≥ .90",
     lambda d: bounded(d["given_nearer_than_swapped"])),
    ("pictures-street", "the same, with the garments swapped", "passes",
     lambda d: bounded(d["swapped_in_nearer_than_own"])),
    ("pictures-street", "the same: pixels outside the mask unchanged", "1",
     lambda d: f"{d['outside_unchanged']['mean']:.3f}"),
    ("pictures-street", "the same: no pixel of head, hands, feet changed (but for a rim of .5 %)", "≥ .99",
     lambda d: f"{d['identity_unchanged']['mean']:.3f} ({d['identity_core_unchanged']['mean']:.3f})"),
    ("pictures-street", "the same: long sleeves to short, arms show", "counted",
     lambda d: f"{d['long_to_short']['arms_show_after']} of {d['long_to_short']['cases']}"),
)  # fmt: skip


def _by_kind(key: str) -> Callable[[dict], str]:
    """Means of a figure of masks: top, bottom, dress, coat."""
    return lambda d: ", ".join(f"{d['kinds'][kind][key]['mean']:.3f}" for kind in ("upper", "lower", "dress", "outer"))


PARSER: tuple[Measure, ...] = (
    ("tryon-parser", "parser: mean IoU of nine parts, held-out photos", "≥ .60",
     lambda d: f"{d['iou_nine_at_photo_size']:.3f}"),
    ("tryon-parser", "joints found as BlazePose sees them, within a tenth of the trunk", "",
     lambda d: f"{d['joints_found']:.3f}"),
    ("tryon-parser", "parser and mask: seconds a photo, one core", "≤ .1",
     lambda d: f"{d['seconds_median']:.3f}{'' if d['bfloat16'] else ' (a core without bfloat16)'}"),
    ("tryon-parser", "masks of a top, bottom, dress, coat: photos without a repainted pixel of head, hands, feet",
     "≥ .99", _by_kind("spared")),
    ("tryon-parser", "the same: share of the old garment that is covered", "", _by_kind("covered")),
)  # fmt: skip
SUBJECTS: tuple[Measure, ...] = tuple(
    (f"subject-{part}", f"subjects: new pictures of six {words} recognised", target,
     lambda d: bounded(d["recognised"]))
    for part, words, target in (
        ("objects", "objects", "≥ .80"), ("garments", "garments", ""), ("persons", "people", "≥ .90"),
    )
)  # fmt: skip


BESIDE = "true, true through the VAE, blurred, shuffled"
PAINTED = ("painted", "true", "coded", "blurred", "shuffled")


def _reads(word: str, target: str) -> Measure:
    """What the probe reads in generated pictures, in true renders and in both controls."""
    return ("pictures-text2image", f"text-to-image: a probe reads the {word} ({BESIDE})", target,
            lambda d: " / ".join(f"{d[of]['probe_reads'][word]:.3f}" for of in PAINTED))  # fmt: skip


def _closeness(key: str, words: str, target: str) -> Measure:
    """How near generated pictures come to true ones by a figure of whole sets, with the controls."""
    return ("pictures-text2image", f"text-to-image: {words} ({BESIDE})", target,
            lambda d: " / ".join(f"{d[of][key]:.3f}" for of in PAINTED))  # fmt: skip


def _tastes(kind: str) -> Measure:
    """How well looks agree with the user's taste and with others'."""

    def say(report: dict) -> str:
        d = report[kind]
        return f"{d['agreement']:.2f}; {d['permuted_mean']:.2f} ± {d['permuted_std']:.2f}, p {d['p']:.4f}"

    return ("pictures-personalisation", f"{kind} looks against the user's own taste; others' tastes", "p < .01", say)


def pictures() -> str:
    """One row a measure of the embedded models, with its target."""
    read = [_reads(w, t) for w, t in (("kind", "≥ .92"), ("colour", "≥ .95"), ("pattern", "≥ .90"), ("scene", "≥ .98"))]
    read += [_closeness("kid", "KID to other true renders by the probe", "small"),
             _closeness("laplacian_energy_of_true", "Laplacian energy by theirs", f".75 {DASH} 1.25")]  # fmt: skip
    rows: list[list[str]] = []
    for file, label, target, say in (*TRYON, *PARSER, *read, _tastes("tryon"), _tastes("scene"), *SUBJECTS):
        path = RESULTS / f"{file}.json"
        if path.exists():
            rows.append([label, target, say(json.loads(path.read_text()))])
    return grid(["measure", "target", "measured (95 % interval); blurred, shuffled"], rows)


def shoppers() -> str:
    """One row a way to recommend to simulated shoppers."""
    results = json.loads((RESULTS / "recsys-atelier.json").read_text())["results"]
    names = list(next(iter(results.values())))
    return grid(["", *names], [[way, *(bounded(figures[name]) for name in names)] for way, figures in results.items()])


def enhancers() -> str:
    """One row an enhancer: SASRec's NDCG@10 with it, and its difference from none, by the length of the history."""
    groups = json.loads((RESULTS / "enhance-ml-100k-10.json").read_text())["by_length"]
    arms = [arm for arm in groups["all"] if arm != "cases"]

    def said(value: dict) -> str:
        if "minus_none" not in value:
            return f"{value['mean']:.3f}"
        low, high = value["interval_95"]
        return f"{value['mean']:.3f} ({value['minus_none']:+.3f} [{low:+.3f}, {high:+.3f}])"

    spans = [name if name == "all" else f"{name} items" for name in groups]
    head = ["enhancer", *(f"{span}, {group['cases']} users" for span, group in zip(spans, groups.values()))]
    return grid(head, [[arm, *(said(group[arm]["ndcg@10"]) for group in groups.values())] for arm in arms])


def cold_start() -> str:
    """One row a model: how often it finds items that nobody took before, and the others."""
    results = json.loads((RESULTS / "recsys-amazon-beauty-coldstart.json").read_text())["results"]
    names = ("recall@10 of new items", "recall@50 of new items", "recall@10 of old items")
    rows = [
        [way, *(DASH if n not in d else bounded(d[n]) if isinstance(d[n], dict) else f"{d[n]:.3f}" for n in names)]
        for way, d in results.items()
    ]
    return grid(["", *names], rows)


def updates(data: str = "ml-1m") -> str:
    """One row a model: before an update with the latest tenth, after it, and trained anew on everything."""
    results = json.loads((RESULTS / f"update-{data}.json").read_text())["results"]
    rows = []
    for model, entry in results.items():
        runs = entry["runs"]

        def mean(read: Callable[[dict], float], runs: list[dict] = runs) -> float:
            return sum(map(read, runs)) / len(runs)

        ways = [
            " / ".join(f"{mean(lambda run, m=m, way=way: run[way][m]):.3f}" for m in ("recall@10", "ndcg@10"))
            for way in ("before", "updated", "full")
        ]
        gaps = [run["updated_minus_full"]["ndcg@10"] for run in runs]
        low, high = (choose(g["interval_95"][at] for g in gaps) for at, choose in enumerate((min, max)))
        gap = f"{mean(lambda run: run['updated_minus_full']['ndcg@10']['mean']):+.3f} ({low:+.3f} {DASH} {high:+.3f})"
        spent = [f"{mean(lambda run, way=way: run[way]):.1f}" for way in ("update_cpu_s", "full_cpu_s")]
        apart = runs[0]["max_difference_of_counts"]
        rows.append([model, *ways, gap, *spent, DASH if apart is None else f"{apart:.1g}", str(len(runs))])
    head = ["Recall@10 / NDCG@10 before", "updated", "trained anew", "difference of NDCG@10", "update CPU-s"]
    return grid(["model", *head, "anew CPU-s", "counts differ by", "seeds"], rows)


def defaults() -> str:
    """One row a set and model: NDCG@10 of the default and of the best of a search, and CountDiff's lead over it."""
    rows = []
    for path in sorted(
        RESULTS.glob("defaults-*.json"), key=lambda path: path.name.removesuffix(".json").split("-")[1:]
    ):
        report = json.loads(path.read_text())
        label = f"{report['data']}: " + " / ".join(f"{size:,}" for size in report["training"].values())
        for model, found in report["models"].items():
            best = found.get("best", {}).get("valid", {}).get("ndcg@10")
            lead = report["countdiff"].get(model, {}).get("test")
            cost = report["ranking"].get("countdiff_times_sasrec") if model == "countdiff" else None
            rows.append([
                label, model, f"{found['default']['valid']['ndcg@10']:.4f}",
                DASH if best is None else f"{best:.4f} of {report['trials'][model]}",
                f"{found['default']['test']['recall@10']:.4f}", f"{found['default']['test']['ndcg@10']:.4f}",
                DASH if lead is None else f"{lead[0]:+.4f} ({lead[1]:+.4f} {DASH} {lead[2]:+.4f})",
                DASH if cost is None else f"{cost:.2f}",
            ])  # fmt: skip
            label = ""
    head = ["model", "default, validation", "best of a search", "Recall@10, test", "NDCG@10, test"]
    return grid(
        ["set: users / items / interactions", *head, "CountDiff less this one", "ranking, times SASRec's"], rows
    )


def own_weights() -> str:
    """One row a command and form of weights: CPU-seconds and peak memory in bfloat16."""
    found = json.loads((RESULTS / "own_weights.json").read_text())
    rows = [
        [row["command"], row["model"], row["form"], f"{row['cpu_seconds']:.0f}", f"{row['peak_mib']:.0f}"]
        for row in found["small"] + found.get("real", [])
    ]
    return grid(["command", "structure", "weights from a", "CPU-s", "peak MiB"], rows)


def reading() -> str:
    """One row a reader: CPU-seconds and peak memory of the same file as CSV and as Parquet."""
    results = json.loads((RESULTS / "reading.json").read_text())["results"]
    names = [name for name in results["csv"] if name != "bytes"]
    rows = [
        [name, *(f"{results[kind][name][key]}" for kind in results for key in ("cpu_s", "peak_gib"))] for name in names
    ]
    return grid(["", *(f"{kind}, {unit}" for kind in ("CSV", "Parquet") for unit in ("CPU-s", "GiB"))], rows)


def everyone() -> str:
    """One row a model and number of users: what `recommend rank` costs beside ranking alone, and after kills."""
    rows = []
    for model, row in json.loads((RESULTS / "rank-everyone.json").read_text())["models"].items():
        alone = f"{row['plain_cpu_s_per_1000']:.2f}"

        def line(label: str, users: str, run: dict, peak: int) -> list[str]:
            a_thousand = 1000 * run["cpu_s"] / int(users)
            return [label, f"{int(users):,}", str(peak), f"{run['cpu_s']:.0f}", f"{a_thousand:.2f}"]

        for users, run in row["runs"].items():
            rows.append([*line(model, users, run, run["peak_mib"]), alone])
        if "killed" in row:
            killed = row["killed"]
            same = "the same file" if killed["equal_to_the_uninterrupted_run"] else "another file"
            label = f"{model}, killed {len(killed['runs']) - 1} times: {same}"
            peak = max(run["peak_mib"] for run in killed["runs"])
            rows.append([*line(label, list(row["runs"])[-1], killed, peak), alone])
    return grid(["model", "users", "peak MiB", "CPU-s", "CPU-s a 1,000 users", "ranking alone"], rows)


def _recommended(data: str, metric: str) -> Callable[[str], str]:
    """Return what reads a model's mean of a metric from its results on a data set."""

    def read(model: str) -> str:
        report = json.loads((RESULTS / f"recsys-{data}-{model}.json").read_text())
        return f"{report['test']['masked'][metric]['mean']:.3f}"

    return read


def summary() -> str:
    """Return the README's table: eight lines, each with the file of results that it comes from."""
    shoppers_at_10 = {
        way: f"{figures['recall@10']['mean']:.3f}"
        for way, figures in json.loads((RESULTS / "recsys-atelier.json").read_text())["results"].items()
    }
    movies, beauty = _recommended("ml-100k", "ndcg@10"), _recommended("amazon-beauty", "recall@10")
    rows = [
        ["simulated shoppers, Recall@10: ours; popularity",
         f"{shoppers_at_10['embedded recommender']}; {shoppers_at_10['popularity']}", DASH],
        ["MovieLens 100k, NDCG@10: ours; SASRec", f"{movies('countdiff')}; {movies('sasrec')}", DASH],
        ["Amazon Beauty, Recall@10: ours with texts; SASRec",
         f"{beauty('countdiff-text')}; {beauty('sasrec')}", DASH],
    ]  # fmt: skip
    for file, label, target, say in SUMMARY:
        rows.append([label, say(json.loads((RESULTS / f"{file}.json").read_text())), target])
    return grid(["measure", "result", "target"], rows)


SUMMARY: tuple[Measure, ...] = (
    ("pictures-main-job", "try-on on renders: the right garment of 20 is recognised", ".90",
     lambda d: f"{d['retrieval_top1_of_20']['mean']:.3f}"),
    ("pictures-main-job", "the same: sharpness, Laplacian energy by the true render's", f".75 {DASH} 1.25",
     lambda d: f"{d['laplacian_energy_of_true']['mean']:.2f}"),
)  # fmt: skip
TABLES: dict[str, Callable[[], str]] = {
    "summary": summary, "pictures": pictures, "atelier": shoppers,
    "ml-1m-clean": lambda: recommenders("ml-1m-clean", MANY_TARGETS),
    "ml-100k": lambda: recommenders("ml-100k"),
    "amazon-beauty": lambda: recommenders("amazon-beauty"),
    "amazon-sports": lambda: recommenders("amazon-sports"),
    "ml-1m": lambda: recommenders("ml-1m"),
    "zhihu": lambda: recommenders("zhihu", AT_20, shown="unmasked", digits=4),
    "enhancers": enhancers, "cold-start": cold_start, "update": updates,
    "update-ml-100k": lambda: updates("ml-100k"), "defaults": defaults,
    "own-weights": own_weights, "people": people, "reading": reading,
    "everyone": everyone, "reliability": reliability, "hostile": hostile,
    "serve": serve, "restarts": restarts, "batch": batch, "catalogue": catalogue, "page": page,
    "figures": figures, "painted-sides": painted_sides, "completed-sides": completed_sides,
    "shapes": shapes_by_normals, "street-figures": street_figures,
    "large": large, "tuned": tuned, "indexes": indexes, "sampled": sampled,
}  # fmt: skip


def fill(text: str) -> str:
    """The text with every marked table written anew."""
    pattern = re.compile(r"(<!-- table: (\S+) -->\n)(.*?)(<!-- end -->)", re.DOTALL)
    return pattern.sub(lambda m: f"{m[1]}{TABLES[m[2]]()}\n{m[4]}", text)


def main() -> None:
    """Write the tables of results into the documents."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    before = {document: document.read_text(encoding="utf-8") for document in DOCUMENTS}
    after = {document: fill(text) for document, text in before.items()}
    if parser.parse_args().check:
        sys.exit(before != after)
    for document, text in after.items():
        document.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
