"""parityd: is live still the strategy that was backtested?"""

__version__ = "0.1.0"
