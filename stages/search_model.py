"""Trains one point of the search with one tuning seed: data/search_models/<point>-<seed>/."""

from stages.common import run
from stages.inputs import start
from stages.paths import search_model
from stages.pretrain import save, train
from stages.variants import training as settings_of

from hrrl.transfer import search


def main(params, point, seed):
    spec, seed = search.spec(search.parse(point), params.search.c, params.search.s), int(seed)
    settings = settings_of(params)
    with start(params, several=True) as here:
        training, checkpoint = train(params, here, spec, "search", point, seed, *settings)
        if here.writes:
            save(params, training, point, spec, seed, search_model(point, seed), settings[0])
            checkpoint.clear()


if __name__ == "__main__":
    run(main, "point", "seed")
