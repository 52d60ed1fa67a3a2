"""Trains one point of the search with one tuning seed: data/search_models/<point>-<seed>/."""

from stages.common import run
from stages.paths import search_model
from stages.pretrain import train
from stages.variants import training

from hrrl.transfer import search


def main(params, point, seed):
    spec = search.spec(search.parse(point), params.search.c, params.search.s)
    train(params, point, int(seed), spec, training(params), search_model(point, seed), stage="search")


if __name__ == "__main__":
    run(main, "point", "seed")
