"""Raw images: finding what the user has, listing it, decoding it, downloading what is missing."""
