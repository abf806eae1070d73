"""Is an archive what its catalog says, and how is it put right?"""
