#ifndef TESTS_MOE_REFERENCE_OPS_H_
#define TESTS_MOE_REFERENCE_OPS_H_

#include <vector>

namespace moe::reference {

// The mathematics of the network once more, in double precision and as plain
// as it can be written: one token after another, every sum spelled out, no
// line shared with what it is compared with.
//
// Each x has its xBackward, which returns the gradient of the input and adds
// to the gradients of parameters.

using Vector = std::vector<double>;
using Rows = std::vector<Vector>;  // a row for each token

Vector Add(const Vector& a, const Vector& b);
double Dot(const Vector& a, const Vector& b);
Vector Softmax(const Vector& z);
double LogSumExp(const Vector& z);

// y = w x; w is [outputs, inputs], row-major.
Vector Linear(const Vector& x, const Vector& w);
Vector LinearBackward(const Vector& d_y, const Vector& x, const Vector& w,
                      Vector& d_w);

// y_i = x_i w_i / sqrt(mean(x^2) + epsilon).
Vector RmsNorm(const Vector& x, const Vector& w, double epsilon);
Vector RmsNormBackward(const Vector& d_y, const Vector& x, const Vector& w,
                       double epsilon, Vector& d_w);

// One expert on one token: w2 (silu(w1 x) * (w3 x)).
struct ExpertWeights {
  const Vector& w1;
  const Vector& w2;
  const Vector& w3;
};
struct ExpertGradients {
  Vector& w1;
  Vector& w2;
  Vector& w3;
};
Vector Expert(const Vector& x, const ExpertWeights& w);
Vector ExpertBackward(const Vector& d_y, const Vector& x,
                      const ExpertWeights& w, ExpertGradients d_w);

}  // namespace moe::reference

#endif  // TESTS_MOE_REFERENCE_OPS_H_
