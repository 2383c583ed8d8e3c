"""What a preference is: records, images, files, and what is wrong with them. No torch."""
