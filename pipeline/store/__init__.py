"""What a finished stage leaves as proof: its record, its lock, and adopting it elsewhere."""
