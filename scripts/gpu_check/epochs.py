"""How many epochs fit into so many seconds, by the last line of a training's CSV: epochs.py TRAINING.csv SECONDS"""

import csv
import sys


def main():
    path, seconds = sys.argv[1], float(sys.argv[2])
    try:
        with open(path, newline="") as file:
            per_epoch = float(list(csv.DictReader(file))[-1]["seconds"])
    except (OSError, IndexError):
        per_epoch = 10.0
    print(max(2, min(200, int(seconds / per_epoch))))


if __name__ == "__main__":
    main()
