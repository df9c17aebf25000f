"""Obstacle-avoidance navigation: a robot with a lidar among walls, obstacles and moving cylinders."""
