"""The arithmetic of the candidates of sleep, layer by layer; `homeo_rl.snn.offline_repair` lets them compete."""
