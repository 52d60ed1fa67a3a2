"""What features are worth elsewhere: extraction, linear SVM, search, robustness."""
