"""Old readings as Parquet files: `parquet` writes them before they are dropped, `restore` reads them back."""
