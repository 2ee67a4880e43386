def write_report(rows):
    pass
