"""Finds a dataset (or downloads it), checks it and lists its images: data/<name>/benchmark or targets/<target>."""

from common import dataset_folder, run, whole


def main(params, role, dataset):
    from hrrl.data import prepare

    manifest = prepare(params.datasets[dataset], dataset)
    with whole(dataset_folder(params, dataset if role == "target" else None)) as folder:
        manifest.write(folder)


if __name__ == "__main__":
    run(main, "role", "dataset")
