"""The statements of DR-RPO: the paper, its guarantees, and what became of each.

Notation.  phi are features on the simplex, mu the factors of a d-rectangular linear model with horizon H, F the worst case of a factor
(constrained C or regularised R, over TV, KL or chi2), T_h V = theta_h + (F(V; mu_{h,i}))_i.  ref is the reference policy, eta >= 0 the weight
of KL(pi|ref), and S(Q) = eta log sum_a ref(a) exp(Q_a/eta).  Only the abstract of the publication was available: the algorithm is a
reconstruction, and what is not in the abstract was derived here.
"""

from __future__ import annotations

from theory._types import Guarantee, Paper

PAPER = Paper(
    key="dr_rpo",
    title="Policy Regularized Distributionally Robust Markov Decision Processes with Linear Function Approximation",
    authors="Jingwen Gu, Yiting He, Zhishuai Liu, Pan Xu",
    year=2025,
    arxiv="2510.14246",
)

_MODEL = "d-rectangular linear model: features are non-negative and sum to 1, factors are distributions, horizon H is finite."
_REFERENCE = "The reference policy is a distribution in every state; policies vanish where it does."
_REWARD = "Rewards lie in [0, 1]."
_FAIL = "A fail state with reward 0 is absorbing in the nominal model, so that the least value is 0 and known."
_ONLINE = "The learner plays every policy once in the nominal model, with rewards known and the reconstructed algorithm."


def _g(number: str, title: str, kind: str, statement: str, assumptions: tuple[str, ...], status: str, source: str, note: str = "") -> Guarantee:
    return Guarantee(f"dr_rpo/{number}", PAPER, title, kind, statement, assumptions, status, source, note)


GUARANTEES: tuple[Guarantee, ...] = (
    _g("G1", "Softmax step", "identity",
       r"$S(Q) - [\langle\pi,Q\rangle - \eta\,\mathrm{KL}(\pi|\mathrm{ref})] = \eta\,\mathrm{KL}(\pi|\pi^*)$ for every $\pi$, with "
       r"$\pi^*(a) = \mathrm{ref}(a)e^{(Q_a-S(Q))/\eta}$: the softmax is the only maximiser.",
       (_REFERENCE, "eta > 0."), "derived", "ours"),
    _g("G2", "Soft robust Bellman equation and saddle point", "identity",
       r"$V^*_h = S(\langle\phi, T_h V^*_{h+1}\rangle)$ is the robust value of the softmax policy and the best soft value in the fixed "
       r"worst kernel: $\max_\pi\min_P = \min_P\max_\pi$.",
       (_MODEL, _REFERENCE), "derived", "ours"),
    _g("G3", "Bias of the temperature", "inequality",
       r"$0 \le V^*_{0,h} - V^*_{\eta,h} \le \eta (H-h+1)\log(1/p)$; the unregularised robust loss of $\pi^*_\eta$ obeys the same bound; "
       r"$V^*_\eta$ falls in $\eta$ and stays above $V^{\mathrm{ref}}$.",
       (_MODEL, "p is the least positive probability of the reference policy in any state.",
        "V*_0 is the greedy robust value over the support of the reference policy."), "derived", "ours"),
    _g("G3-equivalence", "Penalty equals radius and shifted reward, with a temperature", "equivalence",
       r"The constrained soft model with radii $D(\mu^*_{h,i}|\mu_{h,i})$ and rewards $\theta_h + \lambda\rho_h$ has the values of the regularised one.",
       (_MODEL, _REFERENCE, "Both problems are compared at the optimum."), "derived", "ours"),
    _g("G4a", "The soft maximum is non-expansive", "inequality", r"$|S(Q)-S(Q')| \le \|Q-Q'\|_\infty$.", (_REFERENCE,), "derived", "ours"),
    _g("G4b", "Total variation of two softmax policies", "inequality",
       r"$\mathrm{TV}(\pi_Q,\pi_{Q'}) \le \tanh(\mathrm{span}(Q-Q')/(4\eta))$.", (_REFERENCE, "eta > 0."), "derived", "ours"),
    _g("G4c", "L1 distance of two softmax policies", "inequality", r"$\|\pi_Q-\pi_{Q'}\|_1 \le \|Q-Q'\|_\infty/\eta$.",
       (_REFERENCE, "eta > 0."), "derived", "ours"),
    _g("G4d", "KL of two softmax policies", "inequality",
       r"$\eta\,\mathrm{KL}(\pi_Q|\pi_{Q'}) \le \mathrm{span}(Q-Q')^2/(8\eta)$.", (_REFERENCE, "eta > 0."), "derived", "ours"),
    _g("G5", "Discounted operator", "inequality",
       r"$V \mapsto S(\langle\phi, \theta + \gamma F(V)\rangle)$ is monotone and a $\gamma$-contraction in the sup norm.",
       (_MODEL, _REFERENCE, "0 < gamma < 1."), "derived", "ours"),
    _g("G6", "Optimism bounds the regret", "inequality",
       r"If $0 \le \hat Q_h - \langle\phi,T_h\hat V_{h+1}\rangle \le 2\Gamma_h$ and $\hat\pi$ is the softmax of $\hat Q$, then "
       r"$0 \le V^*_1-V^{\hat\pi}_1 \le \hat V_1-V^{\hat\pi}_1 \le 2E^{\hat\pi,\hat P}\sum_h\Gamma_h$.",
       (_MODEL, _REFERENCE, "P-hat is the worst kernel of the value of the played policy."), "derived", "ours"),
    _g("G6-second", "Second-order regret", "inequality",
       r"$V^*_1-V^{\hat\pi}_1 \le E^{\hat\pi,\hat P}\sum_h\eta\,\mathrm{KL}(\hat\pi_h|\pi^*_h) \le "
       r"E^{\hat\pi,\hat P}\sum_h\mathrm{span}_a(\hat Q_h-Q^*_h)^2/(8\eta)$.",
       (_MODEL, _REFERENCE, "eta > 0; no optimism is needed."), "derived", "ours"),
    _g("G7", "Average suboptimality falls polynomially", "rate",
       r"$\mathrm{AveSubOpt}(K) = \frac1K\sum_k[V^*_1-V^{\pi^k}_1]$ falls polynomially in $K$, as fast as value-based robust methods "
       r"($\tilde O(K^{-1/2})$).",
       (_MODEL, _REWARD, _FAIL, _ONLINE, "Every coordinate that matters is visited often enough (coverage)."), "as published", "second-hand",
       "The order is in the abstract, its constants are not known; for a fixed eta the measured average falls faster than 1/sqrt K."),
    _g("G8", "A fail state is needed", "impossibility",
       r"Without a fail state, two TV models that differ only in a state unreachable under the nominal kernel cannot be told apart, and every "
       r"learner has worst-case $\mathrm{SubOpt} \ge \rho/4$ for ever.",
       ("TV set of radius rho, H = 2; every other state is worth at least 1.",), "derived", "ours"),
    _g("G9", "The diagonal bonus has no elliptical potential", "impossibility",
       r"For $\phi = (1/2,1/2)$ repeated, $\sum_i\phi_i\sqrt{(\Lambda^{-1})_{ii}} \ge 1/\sqrt{2\gamma}$ for every number of repetitions, "
       r"while $\|\phi\|_{\Lambda^{-1}} \to 0$.",
       ("gamma is the ridge.",), "derived", "ours"),
    _g("G10", "Size of the bonus that absorbs the ridge", "inequality",
       r"The bias of the ridge estimate of factor means z is at most $\sqrt\gamma\|z\|_2\sqrt{(\Lambda^{-1})_{ii}}$ in coordinate i, so that "
       r"$\beta \ge \sqrt\gamma\|z\|_2$ absorbs it.",
       ("Targets are centred at zero and free of noise; gamma is the ridge.",), "derived", "ours",
       "Sufficient, not necessary: with two features on the simplex and z = (1, 1) a coefficient of sqrt(gamma) is enough."),
    _g("G10-stall", "A bonus that is too small stalls", "impossibility",
       r"With $\beta < \sqrt\gamma\|z\|_2$ the average suboptimality of the learner can stay constant: on the simulated linear model with "
       r"$\eta=0.02$, $\beta=0.3$, $\gamma=1$ its log-log slope stays above $-0.2$.",
       (_MODEL, _REWARD, _FAIL, _ONLINE), "derived", "ours"),
)
