"""Catalogues, matchfiles and tables of others, put into the database by one ingester and a recipe for each."""
