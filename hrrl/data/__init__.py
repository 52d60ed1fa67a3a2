"""Images: datasets as manifests of files, their readers, decoding, augmentation, batches."""
