"""Tests of `collector doctor`."""
