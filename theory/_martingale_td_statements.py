"""What is claimed in continuous-time policy evaluation, statement by statement."""

from __future__ import annotations

from theory._types import Guarantee, Paper

PAPER = Paper(
    "martingale_td",
    "Policy Evaluation and Temporal-Difference Learning in Continuous Time and Space: A Martingale Approach",
    "Yanwei Jia, Xun Yu Zhou",
    2022,
    "2108.06655",
)

_SMOOTH = "Coefficients are continuous, Lipschitz and of linear growth in $x$; rewards and critics are smooth with polynomial growth."
_TERMINAL = r"The critic satisfies the terminal condition: $\psi(T,\cdot)=h$ and $\phi(T,\cdot)=0$."
_LINEAR = r"The critic is linear, $J_\theta=\psi+\theta^\top\phi$."


def _state(key: str, title: str, kind: str, statement: str, assumptions: tuple[str, ...], status: str, source: str, note: str = "") -> Guarantee:
    return Guarantee(f"martingale_td/{key}", PAPER, title, kind, statement, assumptions, status, source, note)


GUARANTEES = (
    _state(
        "G1", "Martingale characterisation of the value function", "equivalence",
        r"$J_\theta$ is the value function iff $J_\theta(T,\cdot)=h$ and $M^\theta_t=e^{-\beta t}J_\theta(t,X_t)+\int_0^t e^{-\beta u}r\,du$ is a "
        r"martingale: $E[M^\theta_{t+u}\mid X_t=x]=M^\theta_t$ for all $t,u,x$.",
        (_SMOOTH,), "as published", "second-hand",
    ),
    _state(
        "G2", "Martingale orthogonality", "equivalence",
        r"$M^\theta$ is a martingale iff $E\int_0^T\xi_t\,dM^\theta_t=E\int_0^T e^{-\beta t}\xi_t R_\theta(t,X_t)\,dt=0$ for every test function $\xi$; "
        r"$\xi=R_\theta$ detects every wrong critic.",
        (_SMOOTH, r"$E\int|\xi|^2\,d\langle M^\theta\rangle<\infty$."), "as published", "second-hand",
    ),
    _state(
        "G3", "The mean-square TD error tends to a quadratic variation", "rate",
        r"$\sum_i E D_i^2\to E\int_0^T|\sigma^\top\nabla J_\theta|^2\,dt$ with error $O(\Delta t)$, so its minimiser tends to the flattest critic, "
        r"not to the value function; with weights $e^{-2\beta t_i}$ the limit is $E\langle M^\theta\rangle_T$.",
        (_SMOOTH, _TERMINAL), "corrected", "second-hand",
        r"With $\beta>0$ and without weights the limit carries no discount: for Brownian motion, $\beta=1$, $J=e^{-(1-t)}x$ the sums tend to .4323, "
        r"not to $E\langle M\rangle_1=.1353$.",
    ),
    _state(
        "G3.1", "Fixed points on N steps for Brownian motion", "identity",
        r"For $h=x^4$ and critics $x^4+\theta(1-t)x^2$: the mean-square TD error is minimised at $\frac{-6N^2+15N+3}{(N+1)^2}$, the martingale loss "
        r"at $\frac{15}{2}-\frac{5/2}{N^2+1}$, and TD(0) ends at $\frac{9N+3}{N+1}$.",
        ("Brownian motion from 0 on [0, 1], no discount, no running reward.",), "derived", "ours",
    ),
    _state(
        "G3.3", "The mean-square TD error on the stationary Ornstein-Uhlenbeck process", "identity",
        r"The coefficient of $x^2$ that minimises $E D^2$ is $\Delta t(1-e^{-a\Delta t})/(e^{-2\beta\Delta t}+1-2e^{-a\Delta t})\to0$, "
        r"independent of the noise level, while the truth is $1/a$, $a=\beta+2\kappa$.",
        (r"$r=x^2$, features $(x^2,1)$, exact sampling, reward at the left end of a step.",), "derived", "ours",
    ),
    _state(
        "G3.4", "Mean-square TD error under small noise", "rate",
        r"For $dX=-\kappa X\,dt+s\,dW$, $X_0=1$, $r=x^2$ and critics $\theta p(t)x^2+c_0(t)$ the minimiser is $1/(1+Cs^2/\Delta t)$ up to $1+o(1)$, "
        r"$C=\int4p^2m^2/\int m^4$: it is usable only when $s^2\ll\Delta t$.",
        (r"$h=0$, $\beta=0$, $m=e^{-\kappa t}$; $s^2/\Delta t$ is kept fixed as both tend to 0.",), "derived", "ours",
    ),
    _state(
        "G4", "The martingale loss is a constant plus the value error", "identity",
        r"$\frac12E\int_0^T|M^\theta_T-M^\theta_t|^2dt=\frac12E\int_0^T t\,d\langle M\rangle_t+\frac12E\int_0^Te^{-2\beta t}|J-J_\theta|^2dt$.",
        (_SMOOTH, _TERMINAL), "derived", "second-hand",
        "The paper states that both sides have the same minimiser; the constant is ours.",
    ),
    _state(
        "G5", "TD(0) and LSTD solve a Galerkin condition", "identity",
        r"The fixed point makes the residual rate orthogonal to the features: $E\int e^{-\beta t}\phi\,R_\theta\,dt=0$; on a grid it solves "
        r"$A_{\Delta t}\theta=b_{\Delta t}$ with $A_{\Delta t}=E\sum e^{-\beta t_i}\phi_i(\phi_i-e^{-\beta\Delta t}\phi_{i+1})^\top$.",
        (_SMOOTH, _LINEAR, _TERMINAL), "as published", "second-hand",
    ),
    _state(
        "G5b", "TD(lambda) interpolates between the loss and TD(0)", "identity",
        r"With $z_i=\lambda^{\Delta t}z_{i-1}+e^{-\beta t_i}\phi_i\Delta t$ and discounted increments, $\lambda=1$ is the stationarity condition of the "
        r"martingale loss on every grid, and $\lambda\to0$ gives TD(0).",
        (_LINEAR, _TERMINAL, r"The trace factor of a step is $\lambda^{\Delta t}$."), "derived", "ours",
    ),
    _state(
        "G5b-exponent", "A trace with the opposite exponent", "identity",
        r"The test function $\xi_t=\int_0^t\lambda^{u-t}\phi(u,X_u)\,du$ with $0<\lambda\le1$ tends to that of TD(0) as $\lambda\to0$.",
        (_LINEAR, _TERMINAL), "refuted", "second-hand",
        r"The authors' sequel (arXiv 2111.11232) prints the exponent as $\lambda^{s-t}$ with $s\le t$, which grows with elapsed time when $\lambda<1$. "
        r"On Brownian motion with $h=x^4$ the fixed point moves away from TD(0) as $\lambda$ falls; $\lambda^{t-s}$ is meant.",
    ),
    _state(
        "G6", "Generalised method of moments: when the weights matter", "equivalence",
        r"$\frac12g^\top Wg$ with $g=E\int\xi\,dM^\theta$ has the TD root as minimiser for every $W$ when there are as many tests as parameters; "
        r"with $\xi=\phi$ and $W=(E\int\xi\xi^\top)^{-1}$ it is half the squared projected residual ($\beta=0$).",
        (_LINEAR, _TERMINAL, r"$\nabla g$ is invertible."), "corrected", "second-hand",
        r"With $\beta>0$ the projected object is $e^{-\beta t}R$. Over-identified and misspecified problems depend on $W$: 3/2 for the identity "
        "against 53/12 on Brownian motion.",
    ),
    _state(
        "G6b", "On-policy TD(0) is stable", "identity",
        r"$A+A^\top=E[\phi_0\phi_0^\top]+E\int(\nabla\phi)^\top\sigma\sigma^\top\nabla\phi\,dt\succeq0$ for $\beta=0$; in the stationary discounted case "
        r"$A+A^\top=2\beta E[\phi\phi^\top]+E[(\nabla\phi)^\top\sigma\sigma^\top\nabla\phi]$.",
        (_LINEAR, _TERMINAL, "Trajectories come from the policy evaluated."), "derived", "ours",
    ),
    _state(
        "G7", "Discretisation error of the fixed points", "rate",
        r"If $|F_{\Delta t}-F|\le C\Delta t^q$ near $\theta^*$ and $|F(\theta)|\ge m|\theta-\theta^*|^p$ then "
        r"$|\theta_{\Delta t}-\theta^*|\le(C\Delta t^q/m)^{1/p}$; for smooth data TD(0), the loss and MSTDE have slope 1, and with $r=0$ and a realisable "
        r"family TD and the loss have no error on any grid.",
        (_SMOOTH, _TERMINAL), "derived", "ours",
        "The paper proves convergence with a rate; the exponent and assumptions of its theorem were not seen.",
    ),
    _state(
        "G8", "TD(0) on the stationary Ornstein-Uhlenbeck process", "identity",
        r"$k_2(\Delta t)=\Delta t/(1-e^{-a\Delta t})=\frac1a+\frac{\Delta t}2+\frac{a\Delta t^2}{12}+\dots$ with left rewards, and "
        r"$\frac{\Delta t}2\coth\frac{a\Delta t}2=\frac1a+\frac{a\Delta t^2}{12}+\dots$ with trapezoidal ones.",
        (r"$r=x^2$, features $(x^2,1)$, exact sampling.",), "derived", "ours",
    ),
    _state(
        "G8-clt", "Asymptotic variance of LSTD", "rate",
        r"On one stationary path of length $T$, $T\,\mathrm{Cov}\to A^{-1}SA^{-\top}$ with $S=\sigma^2E[\phi\phi^\top J'(X)^2]$.",
        (r"$r=x^2$, features $(x^2,1)$; small time steps.",), "derived", "ours",
    ),
    _state(
        "G9", "Black-Scholes with a wrong volatility", "identity",
        r"$C_\sigma-C_q=E\int_0^Te^{-\rho t}\frac12(\sigma^2-q^2)S_t^2\Gamma_q(t,S_t)\,dt"
        r"=\frac12(\sigma^2-q^2)\int_0^TS_0\,n(d_1(w_t))/\sqrt{w_t}\,dt$, $w_t=\sigma^2t+q^2(T-t)$.",
        (r"The asset has drift $\rho$, also the discount rate.",), "derived", "ours",
    ),
    _state(
        "G10", "Orthogonality test of a critic", "algorithm guarantee",
        r"Under a correct critic the self-normalised sums $\sum\xi_iD_i/\sqrt{\sum(\xi_iD_i)^2}$ over independent paths are asymptotically $N(0,1)$, "
        r"so the test of level $\alpha$ rejects it with probability tending to $\alpha$.",
        ("The paths are independent.", r"The quadrature error of the rewards is $o(n^{-1/2})$."), "derived", "ours",
    ),
)
