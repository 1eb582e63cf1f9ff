"""DESI Legacy Imaging Surveys DR10: sweep tables, the cutout service, brick coadds, and known lenses, as one survey."""

from skytrace.surveys.legacy_survey.options import LegacySurveyOptions
from skytrace.surveys.legacy_survey.survey import LegacySurvey

__all__ = ["LegacySurvey", "LegacySurveyOptions"]
