"""What a user computes on their own policy, data or MDP.  One room a subject: smoothing, robust, complexity, martingale, returns."""
