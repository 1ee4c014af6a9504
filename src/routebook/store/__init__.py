"""Durable shared facts behind one small interface: keys, apps, shipped generations, spend."""
