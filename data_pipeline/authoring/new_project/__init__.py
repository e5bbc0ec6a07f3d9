"""HOW does a project begin?"""
