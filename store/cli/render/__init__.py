"""Answers as tables and sentences for people."""
