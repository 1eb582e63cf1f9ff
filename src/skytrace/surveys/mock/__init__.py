"""The built-in survey: a sky of DR10-like galaxies, look-alikes and lenses under measured observing conditions."""

from skytrace.surveys.mock.options import MockSurveyOptions
from skytrace.surveys.mock.survey import MockSurvey

__all__ = ["MockSurvey", "MockSurveyOptions"]
