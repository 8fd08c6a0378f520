"""From one check to a million: many checks at once, files of them, and jobs that outlive a process."""
