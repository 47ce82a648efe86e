// expect: a View has at least one axis
#include <hone/tensor/view.hpp>

#ifdef FIXED
hone::View<float, 1> view;
#else
hone::View<float, 0> view;
#endif
