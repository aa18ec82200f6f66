"""Raw records to records or rejections: no clock, no database."""
