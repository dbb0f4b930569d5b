"""The statements of `loop_agec`: what is claimed, under which assumptions, and how each is known."""

from __future__ import annotations

from theory._types import Guarantee, Paper

PAPER = Paper(
    key="loop_agec",
    title="Sample-efficient Learning of Infinite-horizon Average-reward MDPs with General Function Approximation",
    authors="Jianliang He, Han Zhong, Zhuoran Yang",
    year=2024,
    arxiv="2404.12648",
)

_WEAKLY = "The model is weakly communicating, so that the optimality equation has a constant gain."
_REALISABLE = "The class is finite and contains the truth; its auxiliary class contains the class and every backed-up hypothesis."
_BOUNDED = "Rewards are observed and lie in [-1, 1]."


def _guarantee(
    number: str, title: str, kind: str, statement: str, assumptions: tuple[str, ...], *, status: str = "derived", source: str = "ours", note: str = ""
) -> Guarantee:
    return Guarantee(f"loop_agec/{number}", PAPER, title, kind, statement, assumptions, status, source, note)


GUARANTEES: tuple[Guarantee, ...] = (
    _guarantee(
        "G1", "Gain, bias and span", "inequality",
        r"Howard's algorithm, the occupancy-measure linear program and relative value iteration agree on $J^*$, and $sp(V^*) \le J^* D$ "
        r"with $D$ the diameter; equality on RiverSwim with six states.",
        (_WEAKLY, "Rewards are not negative."),
    ),
    _guarantee(
        "G2", "Exact decomposition of the regret", "identity",
        r"For greedy play of $f_1, f_2, \dots$: $Reg(T) = \sum_t (J^* - J_t) + \sum_t E(f_t)(s_t, a_t) + \sum_t [(P V_t)(s_t, a_t) - V_t(s_t)]$ "
        r"on every path.",
        (_WEAKLY, "The action played is greedy for the hypothesis in use."),
    ),
    _guarantee(
        "G3", "Generalised completeness of the Bellman discrepancy", "identity",
        r"With $Q_{\mathcal{P} f} + J_{\mathcal{P} f} = r + P V_f$: $l(f, g, \zeta) - l(f, \mathcal{P} f, \zeta) = E_{s'} l(f, g, \zeta)$ "
        r"for all $f, g$ and every $s'$.",
        ("The discrepancy is $Q_g(s, a) + J_g - r - V_f(s')$.",),
        status="corrected", source="second-hand",
        note="One circulating statement of the model-based discrepancy adds V(s') instead of subtracting it; then the difference is free of s' "
        "but is not the expectation, which does not vanish at the truth.",
    ),
    _guarantee(
        "G4", "Anytime confidence radius", "inequality",
        r"With probability at least $1 - \delta$, for all $t \ge 1$ at once: "
        r"$L_t(f^*, f^*) - \min_{g} L_t(f^*, g) \le \frac{1}{2} sp(V^*)^2 \log(|\mathcal{G}| / \delta)$.",
        (_REALISABLE, _BOUNDED),
    ),
    _guarantee(
        "G5", "In-sample control", "inequality",
        r"With $\beta = B^2 \log(T |\mathcal{H}| |\mathcal{G}| / \delta)$ and updates when the excess exceeds $4 \beta$, with probability at "
        r"least $1 - 2 \delta$: $\sum_{i < t} E(f_t)(s_i, a_i)^2 \le 10 \beta$ for every $t \le T$.",
        (_REALISABLE, _BOUNDED),
    ),
    _guarantee(
        "G6", "Pigeonhole principle of the eluder dimension", "inequality",
        r"If $\sum_{i<t} \phi_t(x_i)^2 \le \beta$ for all $t$, $|\phi| \le C$ and $d = \dim(\Phi, \omega)$: "
        r"$\#\{t: |\phi_t(x_t)| > \epsilon\} \le (\beta / \epsilon^2 + 1) \dim(\Phi, \epsilon)$, "
        r"$\sum_t |\phi_t(x_t)| \le 2 \sqrt{d \beta T} + d C + T \omega$, "
        r"$\sum_t \phi_t(x_t)^2 \le d \beta (1 + \log T) + d C^2 + T \omega^2$, and without a uniform $\beta$: "
        r"$\sum_t |\phi_t(x_t)| \le 2 asinh(\sqrt{T/d}) \sqrt{2 d \sum_t \sum_{i<t} \phi_t(x_i)^2} + d C + T \omega$.",
        ("The functions are bounded by $C$.",),
        note="The first three have the form of Jin, Liu and Miryoosefi (2021), Lemma 41, with the constants made explicit.",
    ),
    _guarantee(
        "G7", "Eluder dimension, exact and bracketed", "inequality",
        r"$\dim(\Phi, \epsilon) \le \min(|\Phi|, |X|)$, it does not increase with $\epsilon$ and vanishes iff $\max |\phi| \le \epsilon$; "
        r"an independent sequence of length $n$ in $\{\langle x, \theta \rangle: \|\theta\| \le R\}$, $\|x\| \le L$, satisfies for every $c > 0$ "
        r"$n \log \frac{2+c}{1+c} < d \log(1 + \frac{n R^2 L^2}{c d \epsilon^2})$.",
        ("One common scale at least $\\epsilon$ makes every element independent of its predecessors.",),
    ),
    _guarantee(
        "G8", "Elliptical potential and linear dominance", "inequality",
        r"With $\Lambda_t = \lambda I + \sum_{i<t} x_i x_i^T$ and $I_T = \log \det(\Lambda_{T+1} / \lambda)$: $\sum_t \min(1, q_t) \le I_T / \log 2$, "
        r"$\#\{q_t > 1\} \le I_T / \log 2$, and $\sum_t |\langle w_t, x_t \rangle| \le "
        r"\sqrt{\frac{I_T}{\log 2} (\lambda W^2 T + \sum_t \beta_t)} + C I_T / \log 2$.",
        (
            "$q_t = x_t^T \\Lambda_t^{-1} x_t$, $\\|w_t\\| \\le W$, $|\\langle w_t, x_t \\rangle| \\le C$, "
            "$\\beta_t = \\sum_{i<t} \\langle w_t, x_i \\rangle^2$.",
        ),
    ),
    _guarantee(
        "G9", "AGEC made computable", "definition",
        r"$d_G$ and $\kappa_G$ are the least numbers with "
        r"$\sum_t E(f_t)(x_t) \le \sqrt{d_G \sum_t \sum_{i<t} E(f_t)(x_i)^2} + C \min(d_G, T) + T \epsilon$ and "
        r"$\sum_t E(f_t)(x_t)^2 \le \kappa_G \beta \log T + C^2 \min(\kappa_G, T) + 2 T \epsilon^2$ over all sequences, "
        r"$\beta = \max_t \sum_{i<t} E(f_t)(x_i)^2$; exact by enumeration.",
        ("$C = \\max |E(f)|$.", "At least two steps."),
        status="corrected", source="recalled",
        note="With a burn-in of sp(V*) in place of C the number can be infinite: one state, rewards (0, 1), f with Q_f = (0, -1) and J_f = 1 "
        "has sp(V*) = 0 and |E(f)| = 1.",
    ),
    _guarantee(
        "G10", "Low switching", "inequality",
        r"On the event of G5 the number of updates satisfies $N(T) \le 1 + \frac{1}{\beta} \sum_t E(f_t)(s_t, a_t)^2 \le "
        r"1 + 10 d (1 + \log T) + (d C^2 + 1) / \beta$, $d = \dim(T^{-1/2})$.",
        (_REALISABLE, _BOUNDED),
    ),
    _guarantee(
        "G11", "Explicit regret bound of LOOP", "algorithm guarantee",
        r"With probability at least $1 - 4 \delta$: $Reg(T) \le 2 \sqrt{10 d \beta T} + B \sqrt{\frac{1}{2} T \log(1/\delta)} + "
        r"B (1 + 10 d (1 + \log T) + (d C^2 + 1)/\beta) + d C + 1$.",
        (_WEAKLY, _REALISABLE, _BOUNDED),
        note="The printed bound, O(sp(V*) d sqrt(T beta)) with d = max(sqrt(d_G), kappa_G), is recalled; here kappa_G enters a lower-order term only.",
    ),
    _guarantee(
        "G11-rate", "Growth of the worst regret of LOOP", "rate",
        r"The envelope $\max_{\Delta} E\, Reg(T)$ over the gaps of HARD(3, 10) grows like $\sqrt{T}$ up to logarithms: "
        r"the fitted exponent lies in $[0.45, 0.72]$.",
        ("A scaled radius $0.1 B^2 \\log(128 T / 0.05)$, small enough to leave the linear phase at these $T$.", "Ties are broken against the truth."),
    ),
    _guarantee(
        "G12", "The radius must grow with the square of the span", "impossibility",
        r"For the gamble of span $D$ there is no universal $c$: with $\beta = 2\, sp(V^*) \log(|\mathcal{G}| / \delta)$ the truth leaves the confidence "
        r"set with probability at least $0.9$ on some instance.",
        ("64 shifts of one action value are the alternatives; 300 visits.",),
    ),
    _guarantee(
        "G12-printed", "Confidence radius with the first power of the span", "inequality",
        r"With $\beta = c\, sp(V^*) \log(|\mathcal{G}| / \delta)$, $c = 2$, the truth stays in the confidence set with probability at least $1 - \delta$.",
        ("$c$ does not depend on the span.",),
        status="refuted", source="recalled",
        note="The loss has the dimension of value squared.  On the gamble of span 64 the truth leaves the set almost surely; "
        "(sp^2 / 2) log(|G| / delta) is valid.",
    ),
    _guarantee(
        "G13", "Likelihood confidence set of MLE-LOOP", "inequality",
        r"With $\beta = \log(|\mathcal{H}| / \delta)$, each with probability at least $1 - \delta$ for all $t$: "
        r"$\max_f \sum_i \log P_f(s_{i+1}) \le \sum_i \log P(s_{i+1}) + \beta$, and every $f$ within $\beta$ of the maximum has "
        r"$\sum_i TV(P_f, P)(s_i, a_i)^2 \le 3 \log(|\mathcal{H}| / \delta)$.",
        ("The class of models is finite and contains the truth.",),
    ),
    _guarantee(
        "G14", "Reference points: UCRL2", "algorithm guarantee",
        r"With probability at least $1 - \delta$ the true model lies in the confidence set of every episode, hence each optimistic gain is at least "
        r"$J^* - 1/\sqrt{t}$ and $Reg(T) \le 34 D S \sqrt{A T \log(T/\delta)}$; there are at most $S A \log_2(8T/(SA))$ episodes.",
        ("The model communicates.", "Rewards lie in [0, 1]."),
        status="as published", source="recalled",
        note="Jaksch, Ortner and Auer (2010).  The transition width is sqrt(14 S log(2 A t / delta) / n), with the factor S inside the root.",
    ),
)

RATES: tuple[tuple[str, str, str, str], ...] = (
    ("LOOP, finite classes (explicit)", "finite", r"$B \sqrt{40 d T \log(T |H| |G| / \delta)}$", "derived"),
    ("LOOP", "AGEC", r"$sp\, d \sqrt{T \beta}$", "recalled"),
    ("UCRL2", "tabular", r"$34 D S \sqrt{A T \log(T / \delta)}$", "recalled"),
    ("Lower bound", "tabular", r"$0.015 \sqrt{D S A T}$", "recalled"),
    ("FOPO", "linear", r"$sp\, d^{3/2} \sqrt{T}$", "second-hand"),
    ("OLSVI.FH", "linear", r"$\sqrt{sp}\, (d T)^{3/4} + (d^2 sp T^2)^{1/3}$", "second-hand"),
    ("MDP-EXP2", "linear, ergodic", r"$d \sqrt{t_{mix}^3 T}$", "second-hand"),
    ("UCRL2-VTR", "linear mixture", r"$d \sqrt{D T}$", "second-hand"),
    ("Lower bound", "linear mixture", r"$d \sqrt{D T}$", "second-hand"),
    ("arXiv 2409.10772", "linear mixture", r"$sp\, d \sqrt{T}$", "second-hand"),
    ("arXiv 2409.10772", "linear", r"$sp\, d^{3/2} \sqrt{T}$", "second-hand"),
    ("arXiv 2504.11997", "linear", r"$sp \sqrt{d^3 T \log(dT/\delta) \log T}$", "second-hand"),
)
"""Regret rates beside each other: algorithm, class, rate, and how the rate is known."""
