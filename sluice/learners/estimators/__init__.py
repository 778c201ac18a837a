"""Estimators of tables: scikit-learn's, XGBoost, LightGBM, or one of a user's own. Each is a file with its settings, its fit and its graph."""
