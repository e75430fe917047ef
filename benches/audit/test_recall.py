"""The rules of recall.py on tables made by hand: python3 -m unittest discover benches/audit"""

import unittest

import recall

IMAGES = [b"a", b"a", b"b", b"b2", b"", b"", b"c", b"c", b"d", b"ood", b"black", b"e", b"f"]
TRUTH = [
    ("exact_duplicate", 1, 0), ("near_duplicate", 3, 2), ("broken", 4, None), ("broken", 5, None), ("ood", 9, None),
    ("black", 10, None), ("label", 8, None), ("label", 11, None),
]  # rows 6 and 7 are natural exact duplicates, 12 is a clean row


def finding(kind, row, related=None, score=1.0):
    return {"kind": kind, "row": row, "related_row": related, "score": score}


def judged(*findings, images=IMAGES, same=lambda first, second: False):
    truth = [{"kind": kind, "row": row, "related_row": related} for kind, row, related in TRUTH]
    return recall.judge(list(findings), truth, images, same)


class Broken(unittest.TestCase):
    def test_a_row_counts_once_and_any_of_the_three_kinds_finds_it(self):
        counts = judged(finding("empty", 4), finding("undecodable", 4), finding("truncated", 12))["broken"]
        self.assertEqual((counts["findings"], counts["precision"], counts["recall"]), (2, 0.5, 0.5))

    def test_no_findings_have_no_precision(self):
        counts = judged()["broken"]
        self.assertEqual((counts["precision"], counts["recall"]), (None, 0.0))


class ExactDuplicates(unittest.TestCase):
    def test_whichever_row_is_named(self):
        for pair in ((0, 1), (1, 0)):
            counts = judged(finding("exact_duplicate", *pair))["exact_duplicate"]
            self.assertEqual((counts["precision"], counts["recall"], counts["natural"]), (1.0, 1.0, 0))

    def test_both_rows_named_are_one_pair(self):
        both = finding("exact_duplicate", 0, 1), finding("exact_duplicate", 1, 0)
        self.assertEqual(judged(*both)["exact_duplicate"]["findings"], 1)

    def test_natural_ones_are_right_and_listed_apart(self):
        counts = judged(finding("exact_duplicate", 1, 0), finding("exact_duplicate", 7, 6))["exact_duplicate"]
        self.assertEqual((counts["precision"], counts["planted_only_precision"], counts["natural_pairs"]), (1.0, 0.5, [(6, 7)]))

    def test_broken_rows_are_no_duplicates_though_their_bytes_are_equal(self):
        counts = judged(finding("exact_duplicate", 5, 4))["exact_duplicate"]
        self.assertEqual((counts["precision"], counts["recall"], counts["wrong_pairs"]), (0.0, 0.0, [(4, 5)]))

    def test_rows_connected_through_a_third(self):
        images = [*IMAGES[:12], b"a"]  # 12 is a natural third of the planted pair 0, 1
        counts = judged(finding("exact_duplicate", 0, 12), finding("exact_duplicate", 12, 1), images=images)["exact_duplicate"]
        self.assertEqual((counts["precision"], counts["recall"]), (1.0, 1.0))

    def test_a_wrong_finding_connects_nothing(self):
        counts = judged(finding("exact_duplicate", 0, 12), finding("exact_duplicate", 12, 1))["exact_duplicate"]
        self.assertEqual((counts["precision"], counts["recall"]), (0.0, 0.0))


class NearDuplicates(unittest.TestCase):
    def test_planted_ones_need_no_pixels(self):
        counts = judged(finding("near_duplicate", 2, 3))["near_duplicate"]
        self.assertEqual((counts["precision"], counts["recall"]), (1.0, 1.0))

    def test_pixels_decide_on_the_others(self):
        findings = finding("near_duplicate", 12, 8), finding("near_duplicate", 12, 11)
        counts = judged(*findings, same=lambda first, second: {first, second} == {b"d", b"f"})["near_duplicate"]
        self.assertEqual((counts["natural_pairs"], counts["wrong_pairs"]), ([(8, 12)], [(11, 12)]))
        self.assertEqual((counts["precision"], counts["planted_only_precision"], counts["recall"]), (0.5, 0.0, 0.0))

    def test_equal_bytes_are_not_near(self):
        counts = judged(finding("near_duplicate", 0, 1), same=lambda *_: True)["near_duplicate"]
        self.assertEqual(counts["precision"], 0.0)

    def test_a_copy_stands_for_its_original(self):
        images = [*IMAGES[:12], b"b"]  # 12 is a copy of 2
        self.assertEqual(judged(finding("near_duplicate", 3, 12), images=images)["near_duplicate"]["recall"], 1.0)


class Unknown(unittest.TestCase):
    def test_black_is_set_aside_and_broken_is_false(self):
        counts = judged(*(finding("unknown", row) for row in (9, 10, 4)))["unknown"]
        self.assertEqual((counts["findings"], counts["set_aside"], counts["broken"]), (2, 1, 1))
        self.assertAlmostEqual(counts["false_discovery_proportion"], 1 / 3)
        self.assertEqual((counts["precision"], counts["recall"]), (0.5, 1.0))

    def test_changed_labels_and_duplicates_are_in_distribution(self):
        counts = judged(*(finding("unknown", row) for row in (9, 8, 3, 12)))["unknown"]
        self.assertEqual(counts["false_discovery_proportion"], 0.75)


class Labels(unittest.TestCase):
    def test_foreign_and_black_images_are_set_aside_but_not_strictly(self):
        rows = ((9, 0.9), (10, 0.8), (8, 0.7), (12, 0.6), (11, 0.5))
        counts = judged(*(finding("label_issue", row, score=score) for row, score in rows))["label"]
        self.assertEqual((counts["set_aside"], counts["recall"]), (2, 1.0))
        self.assertAlmostEqual(counts["precision"], 2 / 3)
        self.assertEqual(counts["strict_precision"], 0.4)
        self.assertAlmostEqual(counts["precision_at_recall"], 2 / 3)  # both of two planted are needed for 60 %
        self.assertEqual(counts["strict_precision_at_recall"], 0.4)

    def test_the_ranking_stops_where_the_recall_is_reached(self):
        rows = ((11, 0.9), (8, 0.8), (12, 0.7))
        counts = judged(*(finding("label_issue", row, score=score) for row, score in rows))["label"]
        self.assertEqual(counts["precision_at_recall"], 1.0)

    def test_recall_not_reached(self):
        self.assertIsNone(judged(finding("label_issue", 8))["label"]["precision_at_recall"])


class Others(unittest.TestCase):
    """Kinds that are planted beside those of TRUTH."""

    def judged(self, truth, *findings, reference=()):
        truth = [{"kind": kind, "row": row, "related_row": related} for kind, row, related in truth]
        is_grey = lambda data: data == b"e"
        return recall.judge(list(findings), truth, IMAGES, lambda first, second: {first, second} == {b"d", b"r"}, is_grey, reference)

    def test_kinds_that_are_not_planted_are_left_out(self):
        self.assertNotIn("white", judged(finding("near_white", 3)))

    def test_one_kind_of_finding_for_each(self):
        for name, kind in recall.SINGLE.items():
            counts = self.judged([(name, 3, None)], finding(kind, 3), finding(kind, 8))[name]
            self.assertEqual((counts["precision"], counts["recall"]), (0.5, 1.0))

    def test_enlarged_images_may_be_blurred(self):
        truth = [("blurred", 3, None), ("size", 8, None)]
        counts = self.judged(truth, finding("blurred", 3), finding("blurred", 8), finding("blurred", 9))["blurred"]
        self.assertEqual((counts["findings"], counts["precision"]), (2, 0.5))

    def test_natural_grey_images_are_right(self):
        counts = self.judged([("grey", 3, None)], finding("grey", 3), finding("grey", 11), finding("grey", 8))["grey"]
        self.assertEqual((counts["right"], counts["natural"], counts["findings"], counts["recall"]), (2, 1, 3, 1.0))

    def test_leaks_are_judged_by_the_reference(self):
        reference = [b"x", b"c", b"r"]
        truth = [("leaked", 6, 1), ("leaked_near", 8, 0)]
        found = finding("leaked", 6, 1), finding("leaked", 9, 0), finding("leaked_near", 8, 2), finding("leaked_near", 11, 2)
        counts = self.judged(truth, *found, reference=reference)
        exact, near = counts["leaked"], counts["leaked_near"]
        self.assertEqual((exact["precision"], exact["recall"], exact["natural"]), (0.5, 1.0, 0))
        # Row 8 looks like another row of the reference than it was planted from; that is right all the same.
        self.assertEqual((near["precision"], near["recall"], near["natural"]), (0.5, 1.0, 1))


class Floors(unittest.TestCase):
    PERFECT = [
        finding("empty", 4), finding("truncated", 5), finding("exact_duplicate", 1, 0), finding("near_duplicate", 3, 2),
        finding("unknown", 9), finding("label_issue", 8), finding("label_issue", 11), finding("near_black", 10),
    ]

    def missed(self, *findings):
        return {what for what, _, _, holds in recall.floors(judged(*findings), 0.05) if not holds}

    def test_perfect_findings_hold_all(self):
        self.assertEqual(self.missed(*self.PERFECT), set())

    def test_nothing_found_holds_only_what_bounds_errors(self):
        self.assertEqual(len(self.missed()), 9)

    def test_a_broken_row_among_the_unknown(self):
        self.assertIn("unknown: broken rows", self.missed(*self.PERFECT, finding("unknown", 4)))

    def test_a_wrong_near_pair(self):
        self.assertEqual(self.missed(*self.PERFECT, finding("near_duplicate", 12, 8)), {"near duplicates: precision"})

    def test_kinds_with_planted_rows_have_floors_that_can_be_missed(self):
        kinds = judged(*self.PERFECT)
        for name, precision, recall_ in recall.LEAST:
            for counts, missed in (((precision, recall_), set()), ((precision - 0.01, None), {"precision", "recall"})):
                kinds[name] = {"precision": counts[0], "recall": counts[1]}
                held = {what: holds for what, _, _, holds in recall.floors(kinds, 0.05)}
                self.assertEqual({what for what in ("precision", "recall") if not held[f"{name}: {what}"]}, missed)

    def test_few_calibration_rows_widen_the_bound(self):
        kinds = judged(*self.PERFECT)
        kinds["unknown"] |= {"all": 100, "false_discovery_proportion": 0.12}
        for ratio, holds in ((0.0, False), (3.0, True)):
            held = {what: holds for what, _, _, holds in recall.floors(kinds, 0.05, ratio)}
            self.assertEqual(held["unknown: false discovery proportion"], holds)

    def test_false_discoveries_within_two_standard_errors(self):
        kinds = judged(*self.PERFECT)
        # At 100 findings: 0.05 + 2 * sqrt(0.05 * 0.95 / 100) = 0.0936.
        for proportion, holds in ((0.09, True), (0.10, False)):
            kinds["unknown"] |= {"all": 100, "false_discovery_proportion": proportion}
            held = {what: holds for what, _, _, holds in recall.floors(kinds, 0.05)}
            self.assertEqual(held["unknown: false discovery proportion"], holds)


if __name__ == "__main__":
    unittest.main()
