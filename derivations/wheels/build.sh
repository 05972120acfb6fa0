cp files/* "$out"
