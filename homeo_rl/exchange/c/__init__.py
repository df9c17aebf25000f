"""A policy as a controller in plain C that adapts, tests itself and sleeps; `homeo_rl.exchange.c.export` writes it."""
