"""The statements of `distributional_dp`: base theory B, the paper G, negative results N."""

from __future__ import annotations

from theory._types import Guarantee, Paper

PAPER = Paper(
    key="distributional_dp",
    title="Optimizing Return Distributions with Distributional Dynamic Programming",
    authors="Bernardo Avila Pires, Mark Rowland, Diana Borsa, Zhaohan Daniel Guo, Khimya Khetarpal, Andre Barreto, David Abel, Remi Munos, "
    "Will Dabney",
    year=2025,
    arxiv="2501.13028",
)

_POLICY = "Finite MDP, fixed policy, discount in [0, 1)."
_CLOSED = "The range is closed: r + gamma z stays in it, so that nothing is clipped."
_HOMOGENEOUS = "Expected utility with f(gamma x) = gamma f(x) and Lipschitz constant L."
_MG = "The functional is indifferent to mixtures (M) and to gamma (G)."
_ALL_POLICIES = "The maximum is over all policies, history-dependent and randomised ones included."


def _state(
    number: str, title: str, kind: str, statement: str, assumptions: tuple[str, ...], *, status: str = "derived", source: str = "ours", note: str = ""
) -> Guarantee:
    return Guarantee(f"{PAPER.key}/{number}", PAPER, title, kind, statement, assumptions, status, source, note)


GUARANTEES: tuple[Guarantee, ...] = (
    _state(
        "B1",
        "Wasserstein contraction",
        "inequality",
        r"$\bar W_p(T_\pi\eta, T_\pi\eta') \le \gamma\,\bar W_p(\eta,\eta')$ for every $p\in[1,\infty]$.",
        (_POLICY,),
        status="as published",
        source="recalled",
    ),
    _state(
        "B1-cdf",
        "Contraction in the distance of distribution functions",
        "inequality",
        r"$\bar l_p(T_\pi\eta, T_\pi\eta') \le \gamma^{1/p}\,\bar l_p(\eta,\eta')$; the Cramer factor is $\sqrt\gamma$, "
        "attained by point masses.",
        (_POLICY,),
        status="as published",
        source="recalled",
    ),
    _state(
        "B1-cramer-gamma",
        "Cramer contraction by gamma",
        "inequality",
        r"$\bar l_2(T_\pi\eta,T_\pi\eta') \le \gamma\,\bar l_2(\eta,\eta')$.",
        (_POLICY,),
        status="refuted",
        note=r"$\delta_0$ against $\delta_1$ with a deterministic step has factor exactly $\sqrt\gamma$: .7746 > .6 at gamma "
        "= .6. The factor is sqrt(gamma).",
    ),
    _state(
        "B1-greedy",
        "The greedy operator does not contract",
        "impossibility",
        r"For every constant C there are $\eta,\eta'$ with $\bar W_1(T_*\eta,T_*\eta') > C\,\bar W_1(\eta,\eta')$, "
        "greedy for the mean.",
        ("One state; actions lead to a point mass at 0 or to +-1 with probabilities 1/2 +- eps.",),
    ),
    _state(
        "B2-cramer",
        "Categorical projection, Cramer distance",
        "inequality",
        r"$l_2^2(\nu,\Pi_c\nu) \le \frac{dz}{4}\sum_i p_i^2 \le dz/4$, with $p_i$ the mass inside cell i.",
        ("Uniform grid that covers the support.",),
        note="The 2018 paper has the bound without the factor 1/4.",
    ),
    _state(
        "B2-wasserstein",
        "Categorical projection, Wasserstein distance",
        "inequality",
        r"$W_1(\nu,\Pi_c\nu) \le dz/2$, with dz the largest gap; attained by a mass at a midpoint.",
        ("Grid that covers the support.",),
    ),
    _state(
        "B2-mean",
        "What the categorical projection preserves",
        "identity",
        r"$\int g\,d\Pi_c\nu = \int g\,d\nu$ for every g that is piecewise linear with kinks only at grid nodes; the "
        "mean in particular.",
        ("Grid that covers the support.",),
    ),
    _state(
        "B2-quantile",
        "Quantile projection",
        "inequality",
        r"$W_1(\nu,\Pi_q\nu) \le R/(2m)$ for m atoms at the levels $(2i-1)/(2m)$.",
        ("Support of range R.",),
    ),
    _state(
        "B2-quantile-expansive",
        "The quantile projection expands W1",
        "impossibility",
        r"There are $\nu,\nu'$ with $W_1(\Pi_q\nu,\Pi_q\nu') > W_1(\nu,\nu')$.",
        ("m = 1; .49/.51 against .51/.49 on {0, 1}: ratio 50.",),
    ),
    _state(
        "B3-cramer",
        "Categorical fixed point, Cramer distance",
        "inequality",
        r"$\sup_s l_2^2(\eta_c,\eta^\pi) \le \frac{dz}{4(1-\gamma)}$.",
        (_POLICY, _CLOSED),
    ),
    _state(
        "B3-wasserstein",
        "Categorical fixed point, Wasserstein distance",
        "inequality",
        r"$\bar W_1(\eta_c,\eta^\pi) \le \frac{dz}{2(1-\gamma)}$.",
        (_POLICY, _CLOSED),
    ),
    _state(
        "B3-quantile",
        "Quantile fixed point",
        "inequality",
        r"$\bar W_1(\eta_q,\eta^\pi) \le \frac{R}{2m(1-\gamma)}$.",
        (_POLICY, _CLOSED),
        note="A third of the constant recalled from the textbook, 3R/(2m(1-gamma)).",
    ),
    _state(
        "B4-wasserstein",
        "Projection errors are orthogonal",
        "inequality",
        r"$\bar W_1 \le \bar W_2(\eta_c,\eta^\pi) \le \frac{dz}{2\sqrt{1-\gamma^2}}$.",
        (_POLICY, _CLOSED),
    ),
    _state(
        "B4-no-accumulation",
        "Projection errors do not accumulate",
        "inequality",
        r"$\bar W_1(\eta_c,\eta^\pi) \le dz/2$.",
        (_POLICY, _CLOSED),
        status="refuted",
        note="Deterministic cycles reach 1.85 times dz/2 at gamma = .9 and 4 times at .99. The factor 1/sqrt(1 - gamma^2) is "
        "needed.",
    ),
    _state(
        "B4-variance",
        "Mean and variance of the categorical fixed point",
        "inequality",
        r"Equal means, and $0 \le \mathrm{Var}(\eta_c)-\mathrm{Var}(\eta^\pi) \le \frac{dz^2}{4(1-\gamma^2)}$.",
        (_POLICY, _CLOSED),
    ),
    _state(
        "B4-cvar",
        "One-sided CVaR of the categorical fixed point",
        "inequality",
        r"$0 \le \mathrm{CVaR}_\tau(\eta^\pi)-\mathrm{CVaR}_\tau(\eta_c) \le \frac{dz}{2\tau\sqrt{1-\gamma^2}}$.",
        (_POLICY, _CLOSED, "Lower tail, tau in (0, 1]."),
    ),
    _state(
        "B4-sweeps",
        "After finitely many sweeps",
        "inequality",
        r"From $\eta_0=\delta_{z_1}$, after n sweeps: $\mathrm{CVaR}_\tau(\eta_n)\le\mathrm{CVaR}_\tau(\eta^\pi)$ and "
        r"$\bar W_1(\eta_n,\eta^\pi)\le\frac{dz}{2\sqrt{1-\gamma^2}}+\gamma^n\bar W_1(\eta_0,\eta^\pi)$.",
        (_POLICY, _CLOSED, "The start is the lowest atom."),
        status="corrected",
        note="From another start the order of CVaR fails after finitely many sweeps: r = 0, gamma = 1/2, grid {0, 1}, start "
        "at 1, one sweep gives CVaR_.9 = .444 > 0. W_2 needs gamma^n W_2, CVaR needs gamma^n W/tau.",
    ),
    _state(
        "B4-any-start",
        "CVaR order from any start",
        "inequality",
        r"$\mathrm{CVaR}_\tau(\eta_n)\le\mathrm{CVaR}_\tau(\eta^\pi)$ for every n and every start $\eta_0=\delta_x$.",
        (_POLICY, _CLOSED),
        status="refuted",
        note="r = 0, gamma = 1/2, grid {0, 1}, start at 1, n = 1: CVaR_.9 = 4/9 > 0. Start at the lowest atom.",
    ),
    _state(
        "G1",
        "One-step identity and monotonicity",
        "identity",
        r"$F_K(T_\pi\eta)(s,c)=K(\text{mixture of the laws of }\gamma(c'+G'))$ with $c'=(c+r)/\gamma$; for $f(\gamma "
        r"x)=\gamma f(x)$ it is $\gamma\sum P\,F\eta(s',c')$.",
        ("Any return-distribution function; any stock.",),
        source="recalled",
    ),
    _state(
        "G2-mixtures",
        "Expected utilities are indifferent to mixtures",
        "equivalence",
        "A $W_1$-continuous K is indifferent to mixtures iff it is $g(E f)$ with g strictly increasing; CVaR, the "
        "median and mean-variance are not.",
        ("Random triples of laws; the side shown is the largest reversal of order.",),
        source="recalled",
    ),
    _state(
        "G2-gamma",
        "Utilities that are indifferent to gamma",
        "equivalence",
        r"$U_f$ is indifferent to $\gamma$ iff $f(\gamma x)=\alpha f(x)+b$ with $\alpha>0$; Lipschitz on the whole line "
        r"forces $f(\gamma x)=\gamma f(x)$.",
        ("f not constant.",),
    ),
    _state(
        "G3",
        "Finite-horizon optimality",
        "algorithm guarantee",
        r"h sweeps of $T_*$ from $\delta_0$ give $F_K\eta_h(s,c)=\max_\pi F_K\eta^\pi(s,c)$ for the problem of horizon "
        "h, and the greedy policies attain it.",
        (_MG + " For gamma = 1, (G) is empty.", _ALL_POLICIES),
        status="as published",
        source="recalled",
    ),
    _state(
        "G3b",
        "The infinite horizon on a finite lattice",
        "identity",
        r"For $\gamma=1/q$, integer rewards and f with its only kink at 0, integer stocks stay integers and "
        r"$V(s,c)=f'(c)\,(c+\text{risk-neutral optimum})$ for $|c|\ge R/(1-\gamma)$.",
        ("gamma = 1/q with an integer q >= 2, integer rewards, f = p x_+ + n x_-.",),
    ),
    _state(
        "G4",
        "CVaR by a search over the stock",
        "equivalence",
        r"$\sup_\pi\mathrm{CVaR}_\tau(G^\pi)=\max_{c_0}\{-c_0+\frac1\tau\sup_\pi E\min(c_0+G^\pi,0)\}$.",
        ("Lower tail, tau in (0, 1].", _ALL_POLICIES),
        status="as published",
        source="second-hand",
    ),
    _state(
        "G4-search",
        "Cost of the outer search",
        "inequality",
        r"Searching $c_0$ on a grid of step H loses at most $(1-\tau)H \le \max(1,1/\tau-1)H/2$; a point mass attains it.",
        ("The grid has nodes on both sides of a maximiser.",),
        note="The Lipschitz constant alone gives the larger bound; using the two slopes gives the smaller one.",
    ),
    _state(
        "G5",
        "Upper-tail CVaR needs mixing",
        "identity",
        r"$\sup_{\text{randomised }\pi}\overline{\mathrm{CVaR}}_\tau(G^\pi)=\min_{c_0}\{-c_0+\frac1\tau\sup_\pi "
        r"E\max(c_0+G^\pi,0)\}$, attained by a mixture.",
        ("Upper tail, tau in (0, 1].", "Policies may randomise once, at the start."),
    ),
    _state(
        "G5-deterministic",
        "One deterministic policy attains the upper-tail dual",
        "algorithm guarantee",
        r"Some deterministic policy $\pi$ has $\overline{\mathrm{CVaR}}_\tau(G^\pi)$ equal to the dual value.",
        ("Upper tail, tau in (0, 1].",),
        status="refuted",
        note="Arms at 1 and at {3: 1/4, 0: 3/4}, tau = 1/2: the best arm has 3/2, the dual is 5/3, attained with weight 2/3 "
        "on the risky arm.",
    ),
    _state(
        "G6",
        "Value iteration",
        "rate",
        r"$|F_K\eta_n-F^*|\le L\gamma^n D(\eta_0)$.",
        (_MG, "Lipschitz constant L in W_1; gamma < 1."),
        status="as published",
        source="recalled",
        note="The lower side is the paper's, its constant from memory; the upper side is derived.",
    ),
    _state(
        "G7-prior",
        "Greedy policy, a priori",
        "inequality",
        r"$0\le F^*-F_K\eta^{\pi_n}\le\frac{2\gamma}{1-\gamma}L\gamma^nD$.",
        (_HOMOGENEOUS, "gamma < 1."),
    ),
    _state(
        "G7-posterior",
        "Greedy policy, a posteriori",
        "inequality",
        r"$F\eta_{n+1}+\frac{\gamma}{1-\gamma}\min(\min d,0)\le F\eta^{\pi_n}\le F^*\le "
        r"F\eta_{n+1}+\frac{\gamma}{1-\gamma}\max(\max d,0)$, $d=F\eta_{n+1}-F\eta_n$.",
        (_HOMOGENEOUS, "Values outside the stock box come from the exact closed form, so that d = 0 there."),
        status="corrected",
        note="Without the zeros the extremes over the box alone are wrong: see G7-box.",
    ),
    _state(
        "G7-box",
        "Bounds from the stock box alone",
        "inequality",
        r"$F\eta_{n+1}+\frac{\gamma}{1-\gamma}\min_{\text{box}}d\le F^*\le "
        r"F\eta_{n+1}+\frac{\gamma}{1-\gamma}\max_{\text{box}}d$.",
        (_HOMOGENEOUS, "Values outside the box come from the exact closed form."),
        status="refuted",
        note="f = x, one state, r = 1, gamma = 1/2, box |c| <= 2, c = 2, n = 0: the 'lower bound' is 5, the optimum 4. "
        "Include d = 0.",
    ),
    _state(
        "G7-monotone",
        "Greedy policy from a monotone start",
        "inequality",
        r"If $F\eta_1\ge F\eta_0$ then $F^*-F_K\eta^{\pi_n}\le L\gamma^nD$.",
        (_MG, "Lipschitz constant L; for instance rewards >= 0, f increasing, start at 0."),
    ),
    _state(
        "G8",
        "Policy iteration",
        "algorithm guarantee",
        r"$F_K\eta^{\pi_{k+1}}\ge F_K\eta^{\pi_k}$ and $F^*-F_K\eta^{\pi_k}\le L\gamma^kD(\eta^{\pi_0})$, $D\le "
        r"2R/(1-\gamma)$.",
        (_MG, "Lipschitz constant L; gamma < 1; the old action is kept on ties."),
        status="as published",
        source="recalled",
    ),
    _state(
        "G9a",
        "Rounding the stock",
        "inequality",
        r"$|V_H-V^*|\le\frac{L\gamma H}{2(1-\gamma)}$.",
        (_HOMOGENEOUS, "Stocks are rounded to the nearest node of spacing H."),
    ),
    _state(
        "G9b",
        "Projecting the laws",
        "inequality",
        r"$|\hat V_n-V^*|\le L\left(\gamma^nD+\frac{dz}{2(1-\gamma)}\right)$.",
        (_HOMOGENEOUS, _CLOSED),
    ),
    _state(
        "G9c",
        "Aligned atoms are exact",
        "identity",
        "If f is piecewise linear with its kink at 0 and minus every stock node is an atom, projection never changes "
        "$F_K$.",
        (_CLOSED, "Stocks stay on the nodes."),
    ),
    _state(
        "G10",
        "A clock replaces indifference to gamma",
        "equivalence",
        r"With t in the state, being greedy for $E f(\gamma^t(c+G))$ is optimal for every f in finite horizon, and up to "
        r"$L\gamma^nD$ for every L-Lipschitz f.",
        ("Finite horizon, or f Lipschitz.",),
    ),
    _state(
        "N1",
        "Greedy on CVaR itself",
        "algorithm guarantee",
        r"Distributional value iteration with $K=\mathrm{CVaR}_{3/4}$ is optimal.",
        ("(M) fails.",),
        status="refuted",
        note="With probability 1/2 return -5, else choose 1 or {.9, 1.25}: locally the second (1.01667), globally the first "
        "(-3 against -3.0333). The search over the stock (G4) is right.",
    ),
    _state(
        "N2",
        "Utilities that are not indifferent to gamma",
        "algorithm guarantee",
        r"Value iteration with $f=\min(x,1)$, $\gamma=1/2$ is optimal.",
        ("(G) fails.",),
        status="refuted",
        note="Wait one step, then 1 or {0: .4, 4: .6}: it picks the safe arm, value .5 against .6. With a clock (G10) it is "
        "right.",
    ),
    _state(
        "N3",
        "Utilities that are not Lipschitz",
        "algorithm guarantee",
        r"Value iteration with $f=1\{x\ge0\}$ converges to $F^*$.",
        ("(L) fails; infinite horizon.",),
        status="refuted",
        note="One state, r in {0, 1}, gamma = 1/2, c = -2: value 0 for every n, optimum 1, and every action ties. For 1{x > "
        "0} from a start at 3 the value is 1 and the optimum 0.",
    ),
    _state(
        "N4",
        "Policies without the stock",
        "algorithm guarantee",
        r"For $\min E|G|$ a policy of the state alone is as good as one of state and stock.",
        ("Finite horizon, gamma = 1.",),
        status="refuted",
        note="Reward +-1 by chance, then choose -1, 0 or 1: 0 with the stock, 1 without.",
    ),
    _state(
        "N5",
        "Without stock: mean and exponential utility",
        "algorithm guarantee",
        r"At $\gamma=1$ distributional dynamic programming without stock is optimal for the mean and for $-e^{-x}$.",
        ("Finite horizon, gamma = 1.",),
        source="recalled",
    ),
    _state(
        "N5-min",
        "Without stock: min(x, 0)",
        "algorithm guarantee",
        r"At $\gamma=1$ distributional dynamic programming without stock is optimal for $E\min(x,0)$.",
        ("Finite horizon, gamma = 1.",),
        status="refuted",
        note="It loses up to .5 on random models of two states. Stock augmentation is right.",
    ),
    _state(
        "N6-sum",
        "Stock that only adds",
        "algorithm guarantee",
        r"The recursion $c'=c+r$ is optimal for $f=-|x|$ at $\gamma=1/2$.",
        ("Finite horizon 3.",),
        status="refuted",
        note="It loses up to .6 on random models of two states; c' = (c + r)/gamma loses nothing.",
    ),
    _state(
        "N6-product",
        "Stock that is discounted",
        "algorithm guarantee",
        r"The recursion $c'=\gamma(c+r)$ is optimal for $f=-|x|$ at $\gamma=1/2$.",
        ("Finite horizon 3.",),
        status="refuted",
        note="It loses up to .67 on random models of two states; c' = (c + r)/gamma loses nothing.",
    ),
    _state(
        "N7",
        "Risk-level decomposition bounds from above",
        "inequality",
        "The optimum of CVaR is at most the value of dynamic programming on (state, risk level).",
        ("Lower tail; finite horizon.",),
    ),
    _state(
        "N7-exact",
        "Risk-level decomposition of CVaR",
        "algorithm guarantee",
        "Dynamic programming on (state, risk level) gives the optimum of CVaR.",
        ("Lower tail; finite horizon; control.",),
        status="refuted",
        source="second-hand",
        note="Root to 1 (r = 1) or 2 (r = 2); at 1 choose {+2, -2} or -1; at 2 {-1, +2}; tau = 1/2: optimum 0, decomposition "
        "1/3. The search over the stock (G4) is right.",
    ),
)
