"""The statements of R2PVI: the paper, its guarantees, and what became of each.

Notation.  V is a value function, Q a nominal and P a shifted distribution over states; D is TV (half of the L1 distance), KL(P|Q) or
chi2(P|Q); [V]_a = min(V, a).  R_lambda(V; Q) = inf_P { E_P V + lambda D(P|Q) } and C_rho(V; Q) = inf { E_P V : D(P|Q) <= rho }.  The full
text of the publication was not available; where a printed form is known it is known from the authors' slides, their code, and a sister paper.
"""

from __future__ import annotations

from theory._types import Guarantee, Paper

PAPER = Paper(
    key="r2pvi",
    title="Robust Offline Reinforcement Learning with Linearly Structured f-Divergence Regularization",
    authors="Cheng Tang, Zhishuai Liu, Pan Xu",
    year=2025,
    arxiv="2411.18612",
)

_FINITE = "The state space is finite and V is bounded."
_MODEL = "d-rectangular linear model: features are non-negative and sum to 1, factors are distributions, horizon H is finite."
_REWARD = "Rewards lie in [0, 1], are deterministic and known to the learner."
_DATA = "K independent trajectories of one behaviour policy in the nominal model."


def _g(number: str, title: str, kind: str, statement: str, assumptions: tuple[str, ...], status: str, source: str, note: str = "") -> Guarantee:
    return Guarantee(f"r2pvi/{number}", PAPER, title, kind, statement, assumptions, status, source, note)


GUARANTEES: tuple[Guarantee, ...] = (
    _g("G1", "Dual of total variation", "identity",
       r"$R_\lambda = E_Q [V]_{V_{\min}+\lambda}$ and $C_\rho = \max_a \{E_Q[V]_a - \rho(a - V_{\min})\}$, with $V_{\min}$ over all states.",
       (_FINITE, "TV is half of the L1 distance; the shifted distribution may leave the nominal support."), "as published", "second-hand"),
    _g("G2", "Dual of KL", "identity",
       r"$R_\lambda = -\lambda \log E_Q e^{-V/\lambda}$ and $C_\rho = \sup_{a \ge 0} \{-a \log E_Q e^{-V/a} - a\rho\}$.",
       (_FINITE,), "as published", "second-hand"),
    _g("G3", "Dual of chi-square", "identity",
       r"$R_\lambda = \sup_a \{E_Q[V]_a - \mathrm{Var}_Q([V]_a)/(4\lambda)\}$ and $C_\rho = \max_a \{E_Q[V]_a - \sqrt{\rho\,\mathrm{Var}_Q[V]_a}\}$.",
       (_FINITE, "The level a ranges over the values of V on the nominal support."), "as published", "second-hand"),
    _g("G3-code", "Chi-square routine of the published code", "identity",
       r"$R_\lambda = \inf_a \{E_Q[V]_a - \mathrm{Var}_Q([V]_a)/(4\lambda)\}$.",
       (_FINITE,), "refuted", "quoted",
       "The routine minimises over the level where the dual takes a supremum.  V=(0,2,1), Q=(.2,.5,.3), lambda=.5: 0.000 instead of 0.995."),
    _g("G4a", "Lagrange link", "identity", r"$C_\rho = \max_{\lambda \ge 0} \{R_\lambda - \lambda\rho\}$ for $\rho > 0$.",
       (_FINITE, "rho > 0; at rho = 0 KL and chi2 reach the value only as lambda grows without bound.",
        "R_0 is the minimum of V: over all states for TV, over the nominal support for KL and chi2."), "derived", "ours"),
    _g("G4b", "Radius of a penalty", "equivalence",
       r"With $\rho(\lambda) = D(P^*_\lambda | Q)$: $C_{\rho(\lambda)} = R_\lambda - \lambda\rho(\lambda)$.",
       (_FINITE,), "derived", "ours"),
    _g("G4c", "Range and monotonicity in the price", "inequality",
       r"$V_{\min} \le R_\lambda \le E_Q V$; $R$ is nondecreasing and concave in $\lambda$, $C$ nonincreasing and convex in $\rho$.",
       (_FINITE,), "derived", "ours"),
    _g("G4d", "Lipschitz in the value", "inequality", r"$|R(V)-R(V')| \le \|V-V'\|_\infty$ and $|C(V)-C(V')| \le \|V-V'\|_\infty$.",
       (_FINITE,), "derived", "ours"),
    _g("G4e", "Limits of the penalty", "inequality",
       r"$R_{TV} = E_Q V$ for $\lambda \ge V_{\max}-V_{\min}$; $V^Q_{\min} \le R_{KL} \le V^Q_{\min} + \lambda\log(1/Q(\arg\min V))$.",
       (_FINITE,), "derived", "ours"),
    _g("G4f", "Order of the divergences", "inequality",
       r"$R_{KL} \le R_{\chi^2}$, $C_{KL,\rho} \le C_{\chi^2,\rho}$, $C_{TV,\sqrt{\rho/2}} \le C_{KL,\rho}$, $C_{TV,\sqrt{\rho}/2} \le C_{\chi^2,\rho}$.",
       (_FINITE,), "derived", "ours"),
    _g("G5", "Robust Bellman equation", "identity",
       r"$Q_h = \langle\phi, \theta_h + w_h\rangle$ with $w_{h,i} = R(V_{h+1};\mu^0_{h,i})$ (or $C$): one kernel attains the value in every state.",
       (_MODEL,), "as published", "second-hand"),
    _g("G6", "Penalty equals radius and shifted reward", "equivalence",
       r"With $\rho_{h,i} = D(\mu^*_{h,i}|\mu^0_{h,i})$ at the optimum, the constrained model with rewards $\theta_h + \lambda\rho_h$ has the same $V$.",
       (_MODEL, "Both problems are compared at the optimal policy and the optimal kernel."), "derived", "ours"),
    _g("G7a", "State-action sets are more pessimistic", "inequality",
       r"$V^{(s,a)} \le V^{d}$ at equal radius or penalty, with equality for one-hot features.", (_MODEL,), "derived", "ours"),
    _g("G7b", "Range shrinkage", "inequality",
       r"TV: $\max V_h - \min V_h \le (1-(1-\rho)^n)/\rho$ for radius $\rho$, and $\le \min(n, 1+\lambda)$ for penalty $\lambda$, $n = H-h+1$.",
       (_MODEL, _REWARD), "derived", "ours", "The constrained half is printed in a sister paper; the regularised half is ours."),
    _g("G8", "Decomposition under pessimism", "inequality",
       r"If $|\langle\phi, \hat w_h - w_h(\hat V_{h+1})\rangle| \le \Gamma_h$ everywhere, then "
       r"$0 \le V^* - V^{\hat\pi} \le 2 E^{\pi^*,\hat P} \sum_h \Gamma_h \le 2 \sup_{P \in U} E^{\pi^*,P} \sum_h \Gamma_h$ and $\hat V \le V^{\hat\pi}$.",
       (_MODEL, _REWARD, "U holds the factors within max V* / lambda of the nominal ones; P-hat is the worst kernel of V-hat."),
       "derived", "recalled", "The set U is recalled from the paper; the middle bound and the derivation are ours."),
    _g("G9", "Suboptimality of R2PVI", "algorithm guarantee",
       r"With ridge 1, $\Gamma_h = \beta\sum_i \phi_i\sqrt{(\Lambda_h^{-1})_{ii}}$ and the printed $\beta$, w.p. $1-\delta$: "
       r"$V^*-V^{\hat\pi} \le 2\beta \sup_{P \in U} E^{\pi^*,P}\sum_h\sum_i \phi_i\sqrt{(\Lambda_h^{-1})_{ii}}$.",
       (_MODEL, _REWARD, _DATA), "as published", "second-hand",
       "Constants from the authors' slides.  They are so large that the bound exceeds the trivial value H below K of about 5e7."),
    _g("G9-coverage", "The bound under full coverage", "algorithm guarantee",
       r"If $E\,\phi\phi^\top \succeq \kappa I$ at every step and $K \ge \max(512\log(2dH/\delta)/\kappa^2, 4/\kappa)$, then w.p. $1-\delta$ the bound of G9 "
       r"is at most $4\beta H/\sqrt{K\kappa}$.",
       (_MODEL, _DATA, "The behaviour policy covers every direction of the features at every step: kappa > 0."), "as published", "second-hand",
       "With one-hot features that occur evenly the sum behind beta is half of what the bound allows, at the printed number of trajectories and beyond."),
    _g("G9-rate", "The bound shrinks as the root of the number of trajectories", "rate",
       r"$\sum_h E^{\pi^*,\hat P}\sum_i \phi_i\sqrt{(\Lambda_h^{-1})_{ii}} = O(K^{-1/2})$ under coverage.",
       (_MODEL, _DATA, "The behaviour policy covers every factor at every step."), "as published", "second-hand"),
    _g("G9-local", "The root rate is reached on a local family", "rate",
       r"With gaps of order $N^{-1/2}$ the mean suboptimality of R2PVI decays as $N^{-1/2}$.",
       ("One-hot features, two arms, H = 2, success probabilities .4 +- .75/sqrt(N), KL penalty 1, beta .1.",), "derived", "ours",
       "On one fixed model the suboptimality falls much faster, so a slope there says nothing."),
    _g("G9-split", "Data-split certificate", "algorithm guarantee",
       r"With a fold of trajectories for each step, centred targets and $\beta_{TV} = \min(R,\lambda) c_h$, $\beta_{KL} = \lambda(e^{R/\lambda}-1)c_h$, "
       r"$c_h = \frac12(\sqrt{\gamma d} + \sqrt{\log\det(\Lambda_h/\gamma) + 2\log(H/\delta)})$: w.p. $1-\delta$ the premise of G8 holds.",
       (_MODEL, _REWARD, _DATA), "derived", "ours"),
    _g("G10", "Printed lower bound", "impossibility",
       r"$\inf\sup (V^*-V^{\hat\pi}) \ge d^{3/2}H/(128\sqrt K)$ on a family with noisy rewards.",
       ("Rewards are observed with N(0,1) noise and their weights are unknown.", "With known deterministic rewards the family is trivial."),
       "as published", "second-hand", "Constant of the constrained TV version in the sister paper; the regularised statement has an unnamed constant."),
    _g("G10-sharp", "Gaussian-test lower bound", "impossibility",
       r"Bayes risk $\frac{H\delta}{2} N(-\frac{\delta\sqrt n}{2d})$ at $n = K/(d+2)$, hence $\inf\sup \ge 0.1700\,Hd\sqrt{(d+2)/K}$.",
       ("Rewards are observed with N(0,1) noise and their weights are unknown.", "delta H <= lambda, and no nominal leak (eps = 0)."), "derived", "ours"),
    _g("G10-leak", "Worst leak of the hard family", "identity",
       r"TV: $\Delta = 0$ if $v \le \lambda$, else $1-\epsilon$; KL: leak $\epsilon/(\epsilon+(1-\epsilon)e^{-v/\lambda})$; "
       r"$\chi^2$: $\Delta = \min(1-\epsilon, \epsilon(1-\epsilon)v/(2\lambda))$.",
       ("Two states with value difference v; nominal leak eps.",), "as published", "second-hand"),
    _g("G11", "Suboptimality of DRPVI", "algorithm guarantee",
       r"Constrained TV with $\Gamma = 4\sqrt d H\sqrt\iota\sum_i\|\phi_i 1_i\|$: $V^*-V^{\hat\pi} \le 2\sup_{P\in U} E^{\pi^*,P}\sum_h\Gamma_h$.",
       (_MODEL, _REWARD, _DATA, "iota must also count a net over the truncation level, which adds log(3HK)."), "corrected", "quoted",
       "The main text prints the bound without the factor 2, and its union bound leaves out the data-dependent truncation level."),
    _g("G11-factor", "Decomposition without the factor 2", "inequality",
       r"Under the premise of G8, $V^*-V^{\hat\pi} \le \sup_{P\in U} E^{\pi^*,P}\sum_h\Gamma_h$.",
       (_MODEL, _REWARD), "refuted", "quoted",
       "One step of two arms: the better arm underestimated by Gamma, the other overestimated by Gamma; the loss is nearly 2 Gamma."),
    _g("G12", "Constrained duals by breakpoints", "identity",
       r"$\max_{a \in [0,H]} \sum_\tau W_{i\tau}\min(v_\tau,a) - \rho a$ is attained at $0$, $H$ or one of the $v_\tau$, also for signed ridge weights.",
       ("Regularised TV and KL need one ridge solve a step for all coordinates, constrained ones d such maximisations.",), "derived", "ours"),
    _g("G12-local", "Local search finds the dual maximum", "identity",
       r"A Nelder-Mead search from $H/2$ attains $\max_a \sum_\tau W_{i\tau}\min(v_\tau,a) - \rho a$.",
       ("The weights are ridge weights, signed, so that the objective is not concave.",), "refuted", "quoted",
       "All published implementations search this way; it misses 4 to 5 % of the maxima in the option benchmark and 30 % on random data with d = 60."),
    _g("F1-objective", "Robustness comes from the penalised objective", "algorithm guarantee",
       r"On the simulated linear model some $\lambda$ and divergence make the robust first action (all minus) optimal.",
       ("Exact optimum of the regularised model, lambda from .02 to 5, TV, KL and chi2, xi_norm = .2.",), "refuted", "recalled",
       "The exact optimum is the non-robust all-plus action at every price.  The robustness in the published figure is an effect of the "
       "pessimism beta = 1 at K = 100.  A radius on the one factor that shifts does change the action, exactly above .375."),
)
