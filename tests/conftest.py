"""Files with long tests come first: then two workers, each taking the next file when it is free, end close together."""


def pytest_collection_modifyitems(items):
    long = {item.path for item in items if item.get_closest_marker("notebook")}
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: (item.path not in long, item.path not in slow))
